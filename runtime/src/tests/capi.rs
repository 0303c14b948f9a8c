//! The C API, called from Rust; `tests/loading.rs` calls it from C.

use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};

use nnc_abi::{ModelDescriptor, Status};

use super::fake::FAKE;
use super::inputs;
use crate::Model;
use crate::capi::*;

fn last_error() -> String {
    // SAFETY: the API answers a string.
    unsafe { CStr::from_ptr(nnc_last_error()) }.to_str().unwrap().to_owned()
}

fn model() -> *mut Model {
    static DESCRIPTOR: ModelDescriptor = FAKE;
    let mut model = null_mut();
    // SAFETY: a valid descriptor.
    assert_eq!(unsafe { nnc_model_from_descriptor(&DESCRIPTOR, &mut model) }, 0);
    model
}

#[test]
fn plans_and_runs() {
    let model = model();
    let (x, y, z) = inputs(2);
    let dims = [2, 3, 2, 3, 3];
    let (mut out_dims, mut workspace) = ([0; 3], 0);
    let (mut sum, mut positive) = ([0f32; 6], [0i64; 6]);
    let inputs: [*const c_void; 3] = [x.as_ptr().cast(), y.as_ptr().cast(), z.as_ptr().cast()];
    let outputs: [*mut c_void; 2] = [sum.as_mut_ptr().cast(), positive.as_mut_ptr().cast()];
    // SAFETY: all arrays have the model's lengths.
    unsafe {
        assert_eq!(nnc_plan(model, dims.as_ptr(), out_dims.as_mut_ptr(), &mut workspace), 0);
        assert_eq!((out_dims, workspace), ([2, 3, 6], 128));
        for pool in [null(), nnc_pool_shared()] {
            let (inputs, outputs) = (inputs.as_ptr(), outputs.as_ptr());
            let out = out_dims.as_mut_ptr();
            assert_eq!(nnc_run(model, pool, inputs, dims.as_ptr(), outputs, out, null_mut(), 0), 0);
            assert_eq!(out_dims, [2, 3, 2]);
        }
        assert_eq!(sum, [1.5, 0.5, 1.5, 2.5, 9.5, 4.5]);
        assert_eq!(positive[..2], [0, 4]);

        // A workspace of the caller's that is too small is the model's own finding.
        let mut small = [0u8; 127];
        let (inputs_, outputs_, small) = (inputs.as_ptr(), outputs.as_ptr(), small.as_mut_ptr().cast());
        let code = nnc_run(model, null(), inputs_, dims.as_ptr(), outputs_, null_mut(), small, 127);
        assert_eq!(code, Status::WorkspaceTooSmall as i32);
        nnc_model_free(model);
    }
}

#[test]
#[cfg_attr(miri, ignore = "maps a file")]
fn weights_are_found_in_a_folder() {
    static DESCRIPTOR: ModelDescriptor =
        ModelDescriptor { flags: 1, weights_file: c"fake.weights".as_ptr(), weights_bytes: 0, ..FAKE };
    let folder = std::env::temp_dir().join(format!("nnc-capi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = CString::new(folder.as_os_str().as_encoded_bytes()).unwrap();
    // The trailer of no weights.
    let trailer = [&nnc_abi::WEIGHTS_MAGIC.to_le_bytes()[..], &[0; 24], &DESCRIPTOR.weights_hash].concat();
    // SAFETY: a valid descriptor and strings.
    let load = |model: &mut *mut Model| unsafe { nnc_model_from_descriptor_in(&DESCRIPTOR, path.as_ptr(), model) };
    let mut model = null_mut();
    assert_eq!(load(&mut model), Status::NotFound as i32);
    assert!(model.is_null() && last_error().contains("fake.weights"), "{}", last_error());
    std::fs::write(folder.join("fake.weights"), trailer).unwrap();
    assert_eq!(load(&mut model), 0, "{}", last_error());
    // SAFETY: a valid handle, and a folder that is none.
    unsafe {
        nnc_model_free(model);
        assert_eq!(nnc_model_from_descriptor_in(&DESCRIPTOR, null(), &mut model), Status::NullArgument as i32);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn errors_have_texts() {
    let model = model();
    let pointers = [null::<c_void>(); 3];
    // SAFETY: what is null is refused; the rest has the model's lengths.
    unsafe {
        assert_eq!(nnc_model_load(null(), &mut null_mut()), Status::NullArgument as i32);
        assert_eq!(last_error(), "`path` is null");
        let mut out = model;
        assert_eq!(nnc_model_load(c"no/such/file.so".as_ptr(), &mut out), Status::NotFound as i32);
        assert!(out.is_null() && last_error().starts_with("no/such/file.so: "), "{}", last_error());

        let bad = [2, 3, 2, 3, 9];
        assert_eq!(nnc_plan(model, bad.as_ptr(), null_mut(), null_mut()), Status::BadShape as i32);
        assert!(last_error().contains("`z`"), "{}", last_error());
        assert_eq!(nnc_plan(model, null(), null_mut(), null_mut()), Status::NullArgument as i32);

        let good = [2, 3, 2, 3, 3];
        let (inputs, outputs) = (pointers.as_ptr(), pointers.as_ptr().cast());
        let code = nnc_run(model, null(), inputs, good.as_ptr(), outputs, null_mut(), null_mut(), 0);
        assert_eq!((code, last_error().as_str()), (Status::NullArgument as i32, "input `x`: the pointer is null"));

        let mut info = null();
        assert_eq!(nnc_model_input(model, 2, &mut info), 0);
        assert_eq!(CStr::from_ptr((*info).name), c"z");
        assert_eq!(nnc_model_output(model, 2, &mut info), Status::BadArgument as i32);
        assert_eq!(last_error(), "index 2: the model has 2 outputs");
        assert_eq!(CStr::from_ptr(nnc_status_text(-5)), c"unknown status");
        nnc_model_free(model);
        nnc_model_free(null_mut());
        nnc_pool_free(null_mut());
        nnc_pool_free(nnc_pool_shared().cast_mut());
    }
}
