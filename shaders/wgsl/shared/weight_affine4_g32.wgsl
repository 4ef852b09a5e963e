// AFFINE4 weights in groups of 32 columns.
#import affine4

const GROUP = 1u;
