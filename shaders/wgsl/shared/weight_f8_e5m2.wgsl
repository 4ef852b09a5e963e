// F8_E5M2 weights with scales: 5 bits of exponent, 2 of mantissa.
#import floats8

const MANTISSA = 2u;
const BIAS = 15u;
