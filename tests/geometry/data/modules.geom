; Two modules of two chips each, stacked as (frame, module, ss, fs)
adu_per_photon = 1
res = 5000
clen = 0.1642
photon_energy = 9300
dim0 = %
dim2 = ss
dim3 = fs
data = /entry_1/instrument_1/detector_1/data

p1a0/dim1 = 1
p1a0/min_fs = 0
p1a0/min_ss = 0
p1a0/max_fs = 15
p1a0/max_ss = 7
p1a0/fs = -0.002474x +0.999997y
p1a0/ss = -0.999997x -0.002474y
p1a0/corner_x = 52.3
p1a0/corner_y = -18.75

p1a1/dim1 = 1
p1a1/min_fs = 0
p1a1/min_ss = 8
p1a1/max_fs = 15
p1a1/max_ss = 15
p1a1/fs = -0.002474x +0.999997y
p1a1/ss = -0.999997x -0.002474y
p1a1/corner_x = 42.1
p1a1/corner_y = -18.7

p0a0/dim1 = 0
p0a0/min_fs = 0
p0a0/min_ss = 0
p0a0/max_fs = 15
p0a0/max_ss = 7
p0a0/fs = +1.0x +0.0y
p0a0/ss = +0.0x +1.0y
p0a0/corner_x = -28.0
p0a0/corner_y = 3.5

p0a1/dim1 = 0
p0a1/min_fs = 0
p0a1/min_ss = 8
p0a1/max_fs = 15
p0a1/max_ss = 15
p0a1/fs = +1.0x +0.0y
p0a1/ss = +0.0x +1.0y
p0a1/corner_x = -28.0
p0a1/corner_y = 14.25

bad_row/panel = p1a1
bad_row/min_fs = 0
bad_row/max_fs = 15
bad_row/min_ss = 8
bad_row/max_ss = 8
