//! What names stand for as it enters and leaves subgraphs: the values that it is, and in which form they are it.
//!
//! Branches may yield the same thing in two forms (a list of three tensors and one of four), and a loop may carry it in one
//! form in and in another out. Then both sides are brought into a [`Form`] that fits them: sequences are packed, and what
//! may be nothing becomes an optional. Invariant: [`Context::conform`] yields as many values for a form, of the same types
//! but for sizes, whatever it is given.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::narrow::{Narrow, carrier};
use crate::packed_sequence::{Axis, Packed};
use crate::scope::{Compound, Maps};
use crate::sequence::Sequence;
use crate::strings::Strings;
use nnc_ir::{DType, Dim, Encoding, Graph, Tensor, TensorType, ValueId};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A tensor of numbers.
    Numbers(ValueId),
    /// Anything else.
    Compound(Compound),
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Numbers(DType),
    Narrow(Encoding),
    Strings,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Numbers(dtype) => dtype.name(),
            Kind::Narrow(encoding) => encoding.name(),
            Kind::Strings => Encoding::Strings.name(),
        }
    }
}

/// What something is, without its values.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// A tensor, with the type of the value that says its shape.
    Tensor(Kind, TensorType),
    /// A list of tensors, and what their elements are.
    List(Kind, Vec<Form>),
    /// A packed sequence.
    Packed(Kind, Vec<Axis>),
    /// Nothing.
    Nothing,
    /// Something that may be nothing.
    Optional(Box<Form>),
    /// Maps.
    Maps,
}

impl PartialEq for Form {
    /// Sizes of tensors aside.
    fn eq(&self, other: &Form) -> bool {
        match (self, other) {
            (Form::Tensor(a, x), Form::Tensor(b, y)) => a == b && x.rank() == y.rank(),
            (Form::List(a, x), Form::List(b, y)) => a == b && x == y,
            (Form::Packed(a, x), Form::Packed(b, y)) => a == b && x == y,
            (Form::Optional(a), Form::Optional(b)) => a == b,
            (Form::Nothing, Form::Nothing) => true,
            _ => false,
        }
    }
}

impl Form {
    /// The form in which both can be.
    pub(crate) fn unify(&self, other: &Form) -> Option<Form> {
        if self == other {
            return Some(self.clone());
        }
        match (self, other) {
            (Form::Optional(a), Form::Optional(b)) => Some(Form::Optional(Box::new(a.unify(b)?))),
            (Form::Optional(a), Form::Nothing) | (Form::Nothing, Form::Optional(a)) => Some(Form::Optional(a.clone())),
            (Form::Nothing, a) | (a, Form::Nothing) => Some(Form::Optional(Box::new(a.clone()))),
            (Form::Optional(a), b) | (b, Form::Optional(a)) => Some(Form::Optional(Box::new(a.unify(b)?))),
            (Form::List(..) | Form::Packed(..), Form::List(..) | Form::Packed(..)) => {
                let (kind, a) = self.axes()?;
                let (other, b) = other.axes().filter(|b| b.0 == kind)?;
                let axes = match (a, b) {
                    (Some(a), Some(b)) if a.len() == b.len() => a.iter().zip(&b).map(|(a, b)| a.merged(b)).collect(),
                    (Some(axes), None) | (None, Some(axes)) => axes,
                    _ => return None,
                };
                Some(Form::Packed(other, axes))
            }
            _ => None,
        }
    }

    /// A sequence of elements of another number of axes, in the place of one that must then be empty.
    pub(crate) fn replaced_if_empty(&self, other: &Form) -> Option<Form> {
        match (self, other) {
            (Form::Optional(a), b) => Some(Form::Optional(Box::new(a.replaced_if_empty(b)?))),
            (Form::Packed(kind, _), Form::List(..) | Form::Packed(..)) => {
                let (_, axes) = other.axes().filter(|axes| axes.0 == *kind)?;
                Some(Form::Packed(*kind, axes?))
            }
            _ => None,
        }
    }

    /// What is known of the axes of a sequence's elements; `None` for them where there are no elements.
    fn axes(&self) -> Option<(Kind, Option<Vec<Axis>>)> {
        match self {
            Form::Packed(kind, axes) => Some((*kind, Some(axes.clone()))),
            Form::List(kind, elements) => {
                let mut axes: Option<Vec<Axis>> = None;
                for element in elements {
                    let Form::Tensor(_, ty) = element else { return None };
                    let own: Vec<Axis> = ty.shape.iter().map(|d| Axis::Same(d.clone())).collect();
                    axes = Some(match axes {
                        None => own,
                        Some(axes) if axes.len() == own.len() => {
                            axes.iter().zip(&own).map(|(a, b)| a.merged(b)).collect()
                        }
                        Some(_) => return None,
                    });
                }
                Some((*kind, axes))
            }
            _ => None,
        }
    }

    /// The form outside of a subgraph, where `most` says what a size is at most and whether it is known to be that.
    pub(crate) fn outside(&self, most: &impl Fn(&Dim) -> Axis) -> Form {
        match self {
            Form::Tensor(kind, ty) => {
                let known = |size: &Dim| match most(size) {
                    Axis::Same(size) => size,
                    Axis::UpTo(_) => Dim::ZERO,
                };
                Form::Tensor(*kind, TensorType::new(ty.dtype, ty.shape.iter().map(known).collect()))
            }
            // A list of elements whose sizes only the subgraph knows stays one.
            Form::List(kind, elements) => Form::List(*kind, elements.clone()),
            Form::Packed(kind, axes) => Form::Packed(*kind, axes.iter().map(|axis| axis.outside(most)).collect()),
            Form::Optional(form) => Form::Optional(Box::new(form.outside(most))),
            Form::Nothing => Form::Nothing,
            Form::Maps => Form::Maps,
        }
    }
}

impl Item {
    /// The value of a tensor that must be one of numbers.
    pub(crate) fn number(&self) -> Result<ValueId> {
        match self {
            Item::Numbers(value) => Ok(*value),
            Item::Compound(compound) => Err(unsupported(format!(
                "{} are not supported here; only tensors of ordinary numbers are",
                compound.what()
            ))),
        }
    }

    /// The values, to be changed together.
    pub(crate) fn values_mut(&mut self) -> Vec<&mut ValueId> {
        match self {
            Item::Numbers(value) => vec![value],
            Item::Compound(compound) => compound.values_mut(),
        }
    }

    /// The values.
    pub(crate) fn values(&self) -> Vec<ValueId> {
        self.clone().values_mut().into_iter().map(|value| *value).collect()
    }

    /// The same of other values, those of `graph`.
    pub(crate) fn of_values(&self, graph: &Graph, values: &mut impl Iterator<Item = ValueId>) -> Item {
        let mut item = self.clone();
        item.values_mut().into_iter().zip(values).for_each(|(slot, value)| *slot = value);
        item.forget_totals(graph);
        item
    }

    /// What was known of bytes elsewhere may mention sizes that are not known here.
    fn forget_totals(&mut self, graph: &Graph) {
        match self {
            Item::Compound(Compound::Strings(strings)) => {
                let bytes = graph.shape(strings.bytes).first().cloned();
                strings.total = bytes.filter(|_| strings.whole);
            }
            Item::Compound(Compound::Sequence(Sequence::List(_, items))) => {
                items.iter_mut().for_each(|item| item.forget_totals(graph));
            }
            Item::Compound(Compound::Sequence(Sequence::Packed(packed))) => packed.elements.forget_totals(graph),
            Item::Compound(Compound::Optional(_, item)) => item.forget_totals(graph),
            _ => {}
        }
    }

    /// The value that has a tensor's shape; `None` if it is no tensor.
    pub(crate) fn shaped(&self) -> Option<ValueId> {
        match self {
            Item::Numbers(value) => Some(*value),
            Item::Compound(Compound::Narrow(narrow)) => Some(narrow.value),
            Item::Compound(Compound::Strings(strings)) => Some(strings.numbers),
            Item::Compound(_) => None,
        }
    }

    /// As [`Item::shaped`], of what must be a tensor.
    pub(crate) fn tensor(&self) -> Result<ValueId> {
        self.shaped().ok_or_else(|| match self {
            Item::Compound(compound) => {
                unsupported(format!("{} are not supported here; only tensors are", compound.what()))
            }
            Item::Numbers(_) => invalid("there is no tensor"),
        })
    }

    /// The tensor of other elements of the same type: what stands in the place of [`Item::shaped`].
    pub(crate) fn with_shaped(&self, value: ValueId) -> Item {
        match self {
            Item::Compound(Compound::Strings(strings)) => {
                let strings = Strings { numbers: value, whole: false, total: None, ..strings.clone() };
                Item::Compound(Compound::Strings(strings))
            }
            Item::Compound(Compound::Narrow(narrow)) => Item::Compound(Compound::Narrow(Narrow { value, ..*narrow })),
            _ => Item::Numbers(value),
        }
    }

    /// What the elements of a tensor are.
    pub(crate) fn kind(&self, graph: &Graph) -> Option<Kind> {
        Some(match self {
            Item::Numbers(value) => Kind::Numbers(graph.ty(*value).dtype),
            Item::Compound(Compound::Narrow(narrow)) => Kind::Narrow(narrow.encoding),
            Item::Compound(Compound::Strings(_)) => Kind::Strings,
            Item::Compound(_) => return None,
        })
    }

    /// Its form; `graph` has its values.
    pub(crate) fn form(&self, graph: &Graph) -> Form {
        let tensor = |item: &Item| {
            let shaped = item.shaped().map(|value| graph.ty(value).clone());
            item.kind(graph).zip(shaped).map_or(Form::Maps, |(kind, ty)| Form::Tensor(kind, ty))
        };
        match self {
            Item::Compound(Compound::Sequence(Sequence::List(kind, items))) => {
                Form::List(*kind, items.iter().map(tensor).collect())
            }
            Item::Compound(Compound::Sequence(Sequence::Packed(packed))) => {
                packed.elements.kind(graph).map_or(Form::Maps, |kind| Form::Packed(kind, packed.axes.clone()))
            }
            Item::Compound(Compound::Optional(_, item)) => Form::Optional(Box::new(item.form(graph))),
            Item::Compound(Compound::Nothing) => Form::Nothing,
            Item::Compound(Compound::Maps(_)) => Form::Maps,
            _ => tensor(self),
        }
    }
}

impl Compound {
    /// The values, to be changed together.
    pub(crate) fn values_mut(&mut self) -> Vec<&mut ValueId> {
        match self {
            Compound::Sequence(Sequence::List(_, items)) => items.iter_mut().flat_map(Item::values_mut).collect(),
            Compound::Sequence(Sequence::Packed(packed)) => {
                let mut values = packed.elements.values_mut();
                values.push(&mut packed.dims);
                values
            }
            Compound::Optional(has, item) => {
                let mut values = item.values_mut();
                values.push(has);
                values
            }
            Compound::Strings(strings) => strings.values_mut().into_iter().collect(),
            Compound::Narrow(narrow) => vec![&mut narrow.value],
            Compound::Maps(Maps { values, keys }) => {
                let mut all = values.values_mut();
                all.extend(keys.values_mut());
                all
            }
            Compound::Nothing => vec![],
        }
    }

    /// What it is, in the plural.
    pub(crate) fn what(&self) -> String {
        match self {
            Compound::Sequence(_) => "sequences".to_owned(),
            Compound::Nothing | Compound::Optional(..) => "optionals".to_owned(),
            Compound::Maps(_) => "maps".to_owned(),
            Compound::Strings(_) => "tensors of strings".to_owned(),
            Compound::Narrow(narrow) => format!("tensors of {}", narrow.encoding.name()),
        }
    }
}

impl Context<'_, '_> {
    /// A form as messages print it.
    pub(crate) fn show_form(&self, form: &Form) -> String {
        match form {
            Form::Tensor(kind, ty) => format!("{}{}", kind.name(), self.show_shape(&ty.shape)),
            Form::List(kind, elements) => format!("a sequence of {} tensors of {}", elements.len(), kind.name()),
            Form::Packed(kind, axes) => format!("a sequence of tensors of {} of rank {}", kind.name(), axes.len()),
            Form::Nothing => "an empty optional".to_owned(),
            Form::Optional(form) => format!("an optional of {}", self.show_form(form)),
            Form::Maps => "maps".to_owned(),
        }
    }

    /// Brings something into a form that fits it.
    pub(crate) fn conform(&mut self, item: &Item, form: &Form) -> Result<Item> {
        Ok(match (item, form) {
            (Item::Compound(Compound::Sequence(sequence)), Form::Packed(kind, axes)) => {
                let packed = self.pack(sequence, *kind, axes.len())?;
                Item::Compound(Compound::Sequence(Sequence::Packed(Packed { axes: axes.clone(), ..packed })))
            }
            (Item::Compound(Compound::Sequence(Sequence::List(kind, items))), Form::List(_, forms)) => {
                let items = items.iter().zip(forms).map(|(item, form)| self.conform(item, form));
                let items = items.collect::<Result<_>>()?;
                Item::Compound(Compound::Sequence(Sequence::List(*kind, items)))
            }
            (Item::Compound(Compound::Nothing), Form::Optional(form)) => {
                let (has, empty) = (self.scalar(DType::Bool, 0.0), self.empty(form)?);
                Item::Compound(Compound::Optional(has, Box::new(empty)))
            }
            (Item::Compound(Compound::Optional(has, item)), Form::Optional(form)) => {
                Item::Compound(Compound::Optional(*has, Box::new(self.conform(item, form)?)))
            }
            (item, Form::Optional(form)) => {
                let (has, item) = (self.scalar(DType::Bool, 1.0), self.conform(item, form)?);
                Item::Compound(Compound::Optional(has, Box::new(item)))
            }
            // The table of a tensor that is carried would grow with every join.
            (Item::Compound(Compound::Strings(strings)), _) => {
                let [offsets, bytes] = self.packed(strings)?;
                let shape = self.shape(strings.numbers);
                Item::Compound(Compound::Strings(self.whole_table([offsets, bytes], &shape)?))
            }
            (item, _) => item.clone(),
        })
    }

    /// Something of a form, to stand where there is nothing.
    pub(crate) fn empty(&mut self, form: &Form) -> Result<Item> {
        Ok(match form {
            Form::Tensor(Kind::Numbers(dtype), ty) => Item::Numbers(self.full(*dtype, 0.0, &ty.shape)?),
            Form::Tensor(Kind::Narrow(encoding), ty) => {
                let value = self.full(carrier(*encoding), 0.0, &ty.shape)?;
                Item::Compound(Compound::Narrow(Narrow { value, encoding: *encoding }))
            }
            Form::Tensor(Kind::Strings, ty) => {
                let numbers = self.full(DType::I64, 0.0, &ty.shape)?;
                Item::Compound(Compound::Strings(self.strings_of(&[""], numbers)))
            }
            Form::Packed(kind, axes) => {
                let elements =
                    Box::new(self.empty(&Form::Tensor(*kind, TensorType::new(DType::I64, vec![Dim::ZERO])))?);
                let dims = self.constant(Tensor::from_slice::<i64>(&[0, axes.len()], &[]));
                Item::Compound(Compound::Sequence(Sequence::Packed(Packed { elements, dims, axes: axes.clone() })))
            }
            Form::List(kind, forms) => {
                let items = forms.iter().map(|form| self.empty(form)).collect::<Result<_>>()?;
                Item::Compound(Compound::Sequence(Sequence::List(*kind, items)))
            }
            Form::Nothing => Item::Compound(Compound::Nothing),
            Form::Optional(form) => self.empty(form)?,
            Form::Maps => return Err(unsupported("maps are not supported here")),
        })
    }

    /// The input, which the operator requires, whatever it is.
    pub(crate) fn item_input(&mut self, index: usize) -> Result<Item> {
        Ok(match self.compound_input(index)? {
            Some(compound) => Item::Compound(compound),
            None => Item::Numbers(self.input(index)?),
        })
    }

    /// Makes the outputs what these are; the values are the results of the translation.
    pub(crate) fn yields(&mut self, results: impl IntoIterator<Item = Item>) -> Vec<ValueId> {
        let mut values = vec![];
        for item in results {
            match item {
                Item::Numbers(value) => values.push(value),
                Item::Compound(compound) => {
                    // No one reads the value of an output that is defined.
                    values.push(ValueId(0));
                    self.define_compound(values.len() - 1, compound);
                }
            }
        }
        values
    }
}
