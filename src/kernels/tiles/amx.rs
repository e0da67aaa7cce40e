//! AMX: products of bf16 in tiles of 16 x 16 sums (Intel SDM volume 1, chapter 18). The rest runs on AVX-512.
//!
//! Stable Rust has no intrinsics for it, so the instructions stand in inline assembly. Tiles are configured at the
//! beginning of a product and released at its end: a thread never carries tile state into other code.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd`: called only where `available` said yes

use std::arch::asm;
use std::sync::OnceLock;

use super::avx512::Avx512Bf16;
use super::product::Product;
use super::simd::{Epilogue, Simd};

/// Rows and columns of a block: two tiles each way, so that four loads feed four multiplications.
const BLOCK: usize = 32;
/// Words of a tile's row: 64 bytes.
const TILE_WORDS: usize = 16;

/// Whether the CPU has AMX with bf16 and the system lets this process use it (Linux asks to be asked: the tile data of a
/// thread is 8 KiB, `Documentation/arch/x86/xstate.rst`).
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && permitted())
}

fn has_instructions() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: register 0 exists wherever XGETBV does
        unsafe { _xgetbv(0) }
    }
    // SAFETY: OSXSAVE says that the CPU has XGETBV and the system uses it
    let enabled = unsafe { enabled_state() };
    __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE && enabled & TILE_STATE == TILE_STATE
}

#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the system call takes two numbers and touches no memory of this process
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _, out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Elsewhere nobody asks to be asked, and nothing is known of how tiles are kept: not used.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The operand of LDTILECFG: palette 1, eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: TileConfig = {
    let mut config = TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        config.row_bytes[tile] = 64;
        config.rows[tile] = 16;
        tile += 1;
    }
    config
};

/// Sums of one block, on their way from the tiles to the epilogue.
#[repr(C, align(64))]
struct Sums([f32; BLOCK * BLOCK]);

/// As `product::product`; `a` must be readable up to a multiple of 32 rows, and `n_words` a multiple of 16.
#[inline(always)]
pub unsafe fn product<E: Epilogue<Avx512Bf16>>(job: &Product, epilogue: &E) {
    asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly));
    let mut sums = Sums([0.0; BLOCK * BLOCK]);
    for column in (0..job.n_columns).step_by(BLOCK) {
        let b = job.b.add(column * job.n_words);
        for row in (0..job.n_rows).step_by(BLOCK) {
            block(job.a.add(row * job.a_stride), job.a_stride, b, job.n_words, &mut sums);
            for r in 0..BLOCK.min(job.n_rows - row) {
                let halves = [0, TILE_WORDS].map(|half| Avx512Bf16::load(sums.0.as_ptr().add(r * BLOCK + half)));
                epilogue.finish_row(halves, row + r, column);
            }
        }
    }
    asm!("tilerelease", options(nostack, nomem), out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
}

/// 32 rows of `a` times one panel of `b`: tiles 0-3 hold the sums, 4 and 5 the rows, 6 and 7 the columns. One piece of
/// assembly, since the compiler knows nothing of tiles and must not come between.
#[inline(always)]
unsafe fn block(a: *const u32, a_stride: usize, b: *const u32, n_words: usize, sums: &mut Sums) {
    asm!(
        "tilezero tmm0",
        "tilezero tmm1",
        "tilezero tmm2",
        "tilezero tmm3",
        "2:",
        "tileloadd tmm6, [{b} + {b_bytes}]",
        "tileloadd tmm4, [{a} + {a_bytes}]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [{b} + {b_bytes} + 64]",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm5, [{a_low} + {a_bytes}]",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "add {a}, 64",
        "add {a_low}, 64",
        "add {b}, 2048",
        "dec {steps}",
        "jnz 2b",
        "tilestored [{sums} + {b_bytes}], tmm0",
        "tilestored [{sums} + {b_bytes} + 64], tmm1",
        "tilestored [{sums} + {b_bytes} + 2048], tmm2",
        "tilestored [{sums} + {b_bytes} + 2112], tmm3",
        a = inout(reg) a => _,
        a_low = inout(reg) a.wrapping_add(TILE_WORDS * a_stride) => _,
        a_bytes = in(reg) 4 * a_stride,
        b = inout(reg) b => _,
        // a panel has 32 words in a row, and so have the sums
        b_bytes = in(reg) 4 * BLOCK,
        steps = inout(reg) n_words / TILE_WORDS => _,
        sums = in(reg) sums.0.as_mut_ptr(),
        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
        options(nostack),
    );
}
