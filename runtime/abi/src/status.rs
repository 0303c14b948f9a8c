//! What a call into a model, or into the C API, answers.

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// The result of a call, as an `i32` across the boundary. Codes below 100 come from model code, as does
        /// `OutOfMemory`; the others from the runtime, and `BufferTooSmall` from the functions of a model's C header too.
        #[repr(i32)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Status { $($(#[$doc])* $name = $code,)* }

        impl Status {
            /// Every status, by ascending code.
            pub const ALL: &'static [Status] = &[$(Status::$name),*];

            /// The status with this code.
            pub const fn from_code(code: i32) -> Option<Status> {
                match code { $($code => Some(Status::$name),)* _ => None }
            }

            /// One sentence without a full stop.
            pub const fn text(self) -> &'static str {
                match self { $(Status::$name => $text,)* }
            }

            /// [`Self::text`] as a C string.
            pub const fn c_text(self) -> &'static core::ffi::CStr {
                match self {
                    $(Status::$name => {
                        const TEXT: &core::ffi::CStr = match core::ffi::CStr::from_bytes_with_nul(
                            concat!($text, "\0").as_bytes(),
                        ) {
                            Ok(text) => text,
                            Err(_) => panic!("a status text contains a NUL"),
                        };
                        TEXT
                    })*
                }
            }
        }
    };
}

statuses! {
    /// Done.
    Ok = 0, "ok";
    /// A pointer that must not be null is null.
    NullArgument = 1, "a required pointer is null";
    /// A tensor has another number of dimensions than the model takes.
    BadRank = 2, "a tensor has the wrong number of dimensions";
    /// A dimension differs from the model's, or from an earlier use of the same symbol, or from its expression.
    BadShape = 3, "a dimension differs from what the model takes";
    /// A symbol lies outside the bounds the model was compiled for.
    DimOutOfBounds = 4, "a dimension lies outside the bounds the model was compiled for";
    /// A tensor has another element type than the model takes.
    BadDType = 5, "a tensor has the wrong element type";
    /// The workspace is smaller than `plan` asked for.
    WorkspaceTooSmall = 6, "the workspace is too small";
    /// The workspace or the weights are not aligned to 64 bytes.
    Misaligned = 7, "the workspace or the weights are not aligned to 64 bytes";
    /// A value of an input used as an index is out of range.
    BadIndex = 8, "an index computed from the inputs is out of range";
    /// A condition the model relies on does not hold for these input values.
    CheckFailed = 9, "a condition the model relies on does not hold for these inputs";
    /// An integer was divided by zero.
    DivideByZero = 10, "integer division by zero";
    /// A size computed from the input dimensions does not fit in 63 bits.
    SizeOverflow = 11, "a size computed from the input dimensions overflows";
    /// A data-dependent size exceeds the upper bound that `plan` gave.
    BoundExceeded = 12, "a data-dependent size exceeds its upper bound";
    /// The model allocates, and the run's context has no allocator.
    NoAllocator = 13, "the run needs an allocator, and its context has none";

    /// The file does not exist or cannot be read.
    NotFound = 100, "the file cannot be read";
    /// The file is not a compiled model.
    NotAModel = 101, "the file is not a compiled model";
    /// The model was compiled for another kind of processor.
    WrongArch = 102, "the model was compiled for another kind of processor";
    /// Memory for outputs or workspace could not be had, or the run's allocator gave none.
    OutOfMemory = 103, "out of memory";
    /// A number or index passed to the API is out of range.
    BadArgument = 104, "an argument is out of range";
    /// A buffer passed to the API is smaller than the tensor.
    BufferTooSmall = 105, "a buffer is smaller than its tensor";
    /// A defect of nnc.
    Internal = 106, "internal error";
    /// The processor lacks an instruction set the model was compiled for. Model code does not look: see `features`.
    UnsupportedCpu = 107, "the processor lacks a feature the model was compiled for";
    /// Model and runtime were built for different versions of the ABI.
    AbiMismatch = 108, "the model was built for another version of the ABI";
    /// Code or weights differ from their hashes.
    Damaged = 109, "the code or the weights differ from their hashes";
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts() {
        for &status in Status::ALL {
            assert_eq!(Status::from_code(status as i32), Some(status));
            assert_eq!(status.c_text().to_str(), Ok(status.text()));
        }
        assert_eq!(Status::from_code(-1), None);
    }
}
