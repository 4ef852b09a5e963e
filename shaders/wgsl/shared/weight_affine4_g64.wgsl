// AFFINE4 weights in groups of 64 columns.
#import affine4

const GROUP = 2u;
