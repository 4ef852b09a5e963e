//! Random data that is the same on every machine.

/// PCG-XSH-RR with 64 bits of state (O'Neill 2014): small, and good enough for test data.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const INCREMENT: u64 = 1_442_695_040_888_963_407;

impl Rng {
    /// A generator whose sequence depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        let mut rng = Self { state: seed.wrapping_add(INCREMENT) };
        rng.word();
        rng
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        let state = self.state;
        self.state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let mixed = (((state >> 18) ^ state) >> 27) as u32;
        mixed.rotate_right((state >> 59) as u32)
    }

    /// A number in `0..end`, 0 if `end` is 0. The bias is under `end / 2^32`.
    pub fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(end)) >> 32) as u32
    }

    /// A number in `-scale..scale`, evenly spread over 2^24 values.
    pub fn float(&mut self, scale: f32) -> f32 {
        ((self.word() >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    }

    /// `count` numbers in `-scale..scale`.
    pub fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.float(scale)).collect()
    }

    /// `count` words of random bits.
    pub fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.word()).collect()
    }
}
