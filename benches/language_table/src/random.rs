//! Where random numbers come from: SplitMix64 with a fixed seed, so that the table can be made again.

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 up to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 up to `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }

    /// One of the options, by weight.
    pub fn choose<T: Copy>(&mut self, options: &[(T, f64)]) -> T {
        let mut left = self.share() * options.iter().map(|(_, weight)| weight).sum::<f64>();
        for (option, weight) in options {
            left -= weight;
            if left < 0.0 {
                return *option;
            }
        }
        options[options.len() - 1].0
    }
}
