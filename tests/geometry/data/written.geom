photon_energy = 6000
clen = 0.15
adu_per_photon = 1

data = /entry_1/data_1/data
dim0 = %
dim1 = ss
dim2 = fs
mask = /entry_1/data_1/mask
mask_good = 0x0
mask_bad = 0x1
peak_list = /entry_1/result_1
peak_list_type = cxi

a/min_fs = 0
a/max_fs = 7
a/min_ss = 0
a/max_ss = 5
a/fs = +0.999800000000x -0.020000000000y +0.001000000000z
a/ss = +0.020000000000x +0.999800000000y +0.000000000000z
a/corner_x = -3.250000000
a/corner_y = 1.500000000
a/res = 13333.3333333333

b/min_fs = 10
b/max_fs = 14
b/min_ss = 2
b/max_ss = 5
b/fs = +0.000000000000x +1.000000000000y +0.000000000000z
b/ss = -1.000000000000x +0.000000000000y +0.000000000000z
b/corner_x = 7.100000000
b/corner_y = -9.750000000
b/res = 10000
b/coffset = 0.002000000000
