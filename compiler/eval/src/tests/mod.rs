//! Hand-computed cases, one file per family of operations, and random operands that must not panic.

mod arbitrary;
mod control;
mod elementwise;
mod indexing;
mod movement;
mod recurrent;
mod reduce;
mod selection;
mod values;
mod windows;

use crate::{Env, eval_op};
use nnc_ir::tensor::Element;
use nnc_ir::{ConstPool, DType, Dim, Op, Tensor};

fn eval(op: &Op, inputs: &[&Tensor]) -> Vec<Tensor> {
    eval_op(op, inputs, &ConstPool::default(), &mut Env::new()).unwrap()
}

fn one(op: &Op, inputs: &[&Tensor]) -> Tensor {
    let [result] = eval(op, inputs).try_into().unwrap();
    result
}

fn error(op: &Op, inputs: &[&Tensor]) -> String {
    eval_op(op, inputs, &ConstPool::default(), &mut Env::new()).unwrap_err().to_string()
}

fn tensor<T: Element>(shape: &[usize], elements: &[T]) -> Tensor {
    Tensor::from_slice(shape, elements)
}

fn row<T: Element>(elements: &[T]) -> Tensor {
    Tensor::from_slice(&[elements.len()], elements)
}

fn bools(elements: &[bool]) -> Tensor {
    let bytes: Vec<u8> = elements.iter().map(|&b| u8::from(b)).collect();
    Tensor { dtype: DType::Bool, ..row(&bytes) }
}

/// 0, 1, 2, ... as `f32`.
fn counting(shape: &[usize]) -> Tensor {
    let elements: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32).collect();
    Tensor::from_slice(shape, &elements)
}

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&s| Dim::from(s)).collect()
}

#[track_caller]
fn check<T: Element + PartialEq + std::fmt::Debug>(found: &Tensor, shape: &[usize], elements: &[T]) {
    assert_eq!(found.shape, shape);
    assert_eq!(found.to_vec::<T>().unwrap(), elements);
}

#[track_caller]
fn check_bools(found: &Tensor, elements: &[bool]) {
    assert_eq!(found.dtype, DType::Bool);
    assert_eq!(found.data.bytes().iter().map(|&b| b == 1).collect::<Vec<bool>>(), elements);
}

#[track_caller]
fn check_close(found: &Tensor, shape: &[usize], elements: &[f64]) {
    assert_eq!(found.shape, shape);
    let values = found.to_f64s();
    let close = values.iter().zip(elements).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0));
    assert!(close && values.len() == elements.len(), "{values:?} is not {elements:?}");
}
