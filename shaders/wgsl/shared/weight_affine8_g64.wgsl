// AFFINE8 weights in groups of 64 columns.
#import affine8

const GROUP = 2u;
