// AFFINE4 weights in groups of 128 columns.
#import affine4

const GROUP = 4u;
