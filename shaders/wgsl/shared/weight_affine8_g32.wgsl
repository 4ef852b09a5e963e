// AFFINE8 weights in groups of 32 columns.
#import affine8

const GROUP = 1u;
