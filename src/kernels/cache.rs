//! How large the caches are: blocks of work are cut to fit them. Changes no result.

use std::sync::OnceLock;

/// Where the CPU does not say: what most have since 2017.
const USUAL: usize = 1 << 20;

/// Bytes of the second-level cache of a core.
pub fn second_level() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| stated().unwrap_or(USUAL))
}

/// CPUID leaf 4 (Intel SDM volume 2, CPUID) or, on AMD, leaf 0x8000001D, which is laid out alike (APM volume 3).
#[cfg(target_arch = "x86_64")]
fn stated() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let leaf = if __cpuid(0x8000_0000).eax >= 0x8000_001d && __cpuid_count(0x8000_001d, 0).eax & 0x1f != 0 {
        0x8000_001d
    } else if __cpuid(0).eax >= 4 {
        4
    } else {
        return None;
    };
    (0..8).map(|part| __cpuid_count(leaf, part)).take_while(|part| part.eax & 0x1f != 0).find_map(|part| {
        let (level, instructions_only) = (part.eax >> 5 & 7, part.eax & 0x1f == 2);
        let sizes = [part.ebx >> 22 & 0x3ff, part.ebx >> 12 & 0x3ff, part.ebx & 0xfff, part.ecx];
        (level == 2 && !instructions_only).then(|| sizes.iter().map(|size| *size as usize + 1).product())
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn stated() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_second_level_cache_has_a_likely_size() {
        let bytes = super::second_level();
        assert!((128 << 10..64 << 20).contains(&bytes), "{bytes}");
    }
}
