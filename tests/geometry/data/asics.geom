; Four read-out chips in one block per frame, set-up values in the file, old and new mask names
photon_energy = /LCLS/photon_energy_eV   ; eV
clen = /LCLS/detector_1/EncoderValue     ; mm
coffset = 0.58210                        ; m
adu_per_eV = 0.00338
res = 9097.52
max_adu = 12000

dim0 = %
dim1 = ss
dim2 = fs
data = /entry_1/data_1/data
mask = /entry_1/data_1/mask
mask_good = 0x0000
mask_bad = 0xffff

rigid_group_q0 = q0a0,q0a1
rigid_group_q1 = q1a0,q1a1
rigid_group_collection_quadrants = q0,q1

bad_stop/min_x = -25.5
bad_stop/max_x = 30
bad_stop/min_y = -10
bad_stop/max_y = 12.25

q0a0/min_fs = 0
q0a0/min_ss = 0
q0a0/max_fs = 19
q0a0/max_ss = 14
q0a0/fs = +0.004806x +0.999989y
q0a0/ss = -0.999989x +0.004806y
q0a0/corner_x = 43.819
q0a0/corner_y = -4.98719

q0a1/min_fs = 20
q0a1/min_ss = 0
q0a1/max_fs = 39
q0a1/max_ss = 14
q0a1/fs =   0.004806x   +   0.999989y - 0.0021z
q0a1/ss = -.999989x+.004806y
q0a1/corner_x = 44.766
q0a1/corner_y = 17.126

bad_edge/panel = q0a1
bad_edge/min_fs = 20
bad_edge/max_fs = 22
bad_edge/min_ss = 3
bad_edge/max_ss = 3

q1a0/min_fs = 0
q1a0/min_ss = 15
q1a0/max_fs = 19
q1a0/max_ss = 29
q1a0/fs = -x
q1a0/ss = -y
q1a0/corner_x = -1.5e1
q1a0/corner_y = 38.9

q1a1/min_fs = 20
q1a1/min_ss = 15
q1a1/max_fs = 39
q1a1/max_ss = 29
q1a1/fs = -0.999997x +0.002424y
q1a1/ss = -0.002424x -0.999997y
q1a1/corner_x = -35.22
q1a1/corner_y = 38.532
q1a1/coffset = 0.58300

q1a0/no_index = 1
q0a1/max_adu = 9000
