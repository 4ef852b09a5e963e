// F8_E4M3 weights with scales: 4 bits of exponent, 3 of mantissa.
#import floats8

const MANTISSA = 3u;
const BIAS = 7u;
