//! Disassembly of generated code.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

/// The instructions of some code, one per line, up to its last return.
pub fn listing(bytes: &[u8]) -> String {
    let mut formatter = IntelFormatter::new();
    let mut out = String::new();
    for inst in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        let mut line = String::new();
        formatter.format(&inst, &mut line);
        out.push_str(&format!("{:5x} {line}\n", inst.ip()));
        if inst.mnemonic() == iced_x86::Mnemonic::Ret {
            break;
        }
    }
    out
}
