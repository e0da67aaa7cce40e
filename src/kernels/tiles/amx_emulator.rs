//! The AMX instructions that `amx` uses, in software, for tests on a CPU without them: such a CPU raises SIGILL, and the
//! handler here does what the instruction says (Intel SDM volume 2, chapter 3; encodings as in its tables). It emulates
//! nothing else: any other illegal instruction ends the test as before.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: `handle` runs as a signal handler and reads what the stopped code would

use std::cell::RefCell;
use std::sync::Once;

const TILE_ROWS: usize = 16;
const ROW_BYTES: usize = 64;

#[derive(Clone, Copy)]
struct State {
    configured: bool,
    tiles: [[[u8; ROW_BYTES]; TILE_ROWS]; 8],
}

thread_local! {
    static STATE: RefCell<State> =
        const { RefCell::new(State { configured: false, tiles: [[[0; ROW_BYTES]; TILE_ROWS]; 8] }) };
}

/// Makes AMX instructions work in this process.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler is a function of the form that SA_SIGINFO asks for; the struct is all zeros but for what
        // is set, which is how sigaction is used
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = handle;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            assert_eq!(libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()), 0);
        }
    });
}

/// Whether this thread has left its tiles configured.
pub fn is_configured() -> bool {
    STATE.with_borrow(|state| state.configured)
}

extern "C" fn handle(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over the context of the stopped thread
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let code = registers[libc::REG_RIP as usize] as *const u8;
        match STATE.with_borrow_mut(|state| emulate(state, code, registers)) {
            Some(length) => registers[libc::REG_RIP as usize] += length as i64,
            None => {
                // not ours: back to the default, which ends the process at the same instruction
                libc::signal(libc::SIGILL, libc::SIG_DFL);
            }
        }
    }
}

/// Does the instruction at `code`; returns its length, or None if it is not one of AMX.
unsafe fn emulate(state: &mut State, code: *const u8, registers: &[i64; 23]) -> Option<usize> {
    let [vex, map, last, opcode, modrm] = code.cast::<[u8; 5]>().read_unaligned();
    if vex != 0xc4 || map & 0x1f != 2 || last & 0x84 != 0 {
        return None;
    }
    let (prefix, third) = (last & 3, usize::from(!last >> 3 & 0xf));
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    match (opcode, prefix, mode) {
        (0x49, 0, 3) => {
            state.configured = false;
            Some(5)
        }
        (0x49, 0, _) => {
            let (from, length) = address(code, map, registers);
            let palette = (from as *const u8).read();
            let rows = (from as *const u8).add(48).cast::<[u8; 8]>().read_unaligned();
            assert!(palette == 1 && rows == [16; 8], "the emulator knows whole tiles only");
            *state = State { configured: true, tiles: [[[0; ROW_BYTES]; TILE_ROWS]; 8] };
            Some(length)
        }
        _ if !state.configured => None,
        (0x49, 3, 3) => {
            state.tiles[reg] = [[0; ROW_BYTES]; TILE_ROWS];
            Some(5)
        }
        (0x4b, 2 | 3, 0..=2) => {
            let (base, stride, length) = rows_address(code, map, registers);
            for row in 0..TILE_ROWS {
                let at = base.wrapping_add(stride.wrapping_mul(row as i64)) as *mut [u8; ROW_BYTES];
                if prefix == 3 {
                    state.tiles[reg][row] = at.read_unaligned();
                } else {
                    at.write_unaligned(state.tiles[reg][row]);
                }
            }
            Some(length)
        }
        (0x5c, 2, 3) => {
            multiply(&mut state.tiles, reg, rm, third);
            Some(5)
        }
        _ => None,
    }
}

/// TDPBF16PS: 16 x 16 sums of f32 += 16 rows of 32 bf16 times 16 pairs of rows.
fn multiply(tiles: &mut [[[u8; ROW_BYTES]; TILE_ROWS]; 8], sums: usize, a: usize, b: usize) {
    let pair = |row: &[u8; ROW_BYTES], word: usize| {
        let at = |i: usize| f32::from_bits((u16::from_le_bytes([row[i], row[i + 1]]) as u32) << 16);
        [at(4 * word), at(4 * word + 2)]
    };
    for m in 0..TILE_ROWS {
        for n in 0..16 {
            let bytes = &tiles[sums][m][4 * n..4 * n + 4];
            let mut sum = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            for k in 0..16 {
                let (x, y) = (pair(&tiles[a][m], k), pair(&tiles[b][k], n));
                sum += x[0] * y[0] + x[1] * y[1];
            }
            tiles[sums][m][4 * n..4 * n + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Where an operand in memory stands, and the length of the instruction.
unsafe fn address(code: *const u8, map: u8, registers: &[i64; 23]) -> (i64, usize) {
    let modrm = code.add(4).read();
    if modrm & 7 == 4 {
        let (base, index, length) = rows_address(code, map, registers);
        return (base.wrapping_add(index), length);
    }
    let (shift, length) = displacement(code.add(5), modrm >> 6);
    assert!(modrm >> 6 != 0 || modrm & 7 != 5, "the emulator does not know addresses relative to RIP");
    (register(registers, modrm & 7, map & 0x20 == 0).wrapping_add(shift), 5 + length)
}

/// Base with displacement, and the index as the stride of rows, of an operand with a SIB byte.
unsafe fn rows_address(code: *const u8, map: u8, registers: &[i64; 23]) -> (i64, i64, usize) {
    let (modrm, sib) = (code.add(4).read(), code.add(5).read());
    let (shift, length) = displacement(code.add(6), modrm >> 6);
    assert!(modrm >> 6 != 0 || sib & 7 != 5, "the emulator does not know addresses without a base");
    let base = register(registers, sib & 7, map & 0x20 == 0).wrapping_add(shift);
    let no_index = sib >> 3 & 7 == 4 && map & 0x40 != 0;
    let index = if no_index { 0 } else { register(registers, sib >> 3 & 7, map & 0x40 == 0) << (sib >> 6) };
    (base, index, 6 + length)
}

unsafe fn displacement(at: *const u8, mode: u8) -> (i64, usize) {
    match mode {
        1 => (at.cast::<i8>().read() as i64, 1),
        2 => (at.cast::<i32>().read_unaligned() as i64, 4),
        _ => (0, 0),
    }
}

fn register(registers: &[i64; 23], number: u8, high: bool) -> i64 {
    use libc::*;
    const ORDER: [i32; 16] = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
        REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    registers[ORDER[usize::from(number) + if high { 8 } else { 0 }] as usize]
}
