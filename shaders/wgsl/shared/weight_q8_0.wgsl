// Q8_0 weights: signed 8 bits and an f16 scale d a block of 32, 2 vectors a block; a weight is q * d.
#import bytes
#import scaled
#import scales_f16
