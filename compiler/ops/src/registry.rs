//! Which operators exist, and the function that translates each.

use crate::Context;
use crate::error::Result;
use nnc_ir::ValueId;

/// The newest opset of the ONNX domain whose operators were read when this crate was written.
pub const NEWEST_OPSET: i64 = 28;

/// Translates the context's node; yields its results in ONNX order.
pub type Translation = fn(&mut Context<'_, '_>) -> Result<Vec<ValueId>>;

/// An operator that can be translated.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// Domain; empty for ONNX's own.
    pub domain: &'static str,
    /// Name.
    pub name: &'static str,
    /// First opset covered.
    pub since: i64,
    /// The translation.
    pub translation: Translation,
}

macro_rules! domain {
    () => {
        ""
    };
    ($domain:literal) => {
        $domain
    };
}

macro_rules! table {
    ($($module:ident { $($operator:ident $since:literal $function:ident $(in $domain:literal)?),* $(,)? })*) => {
        static OPERATORS: &[Operator] = &[$($(
            Operator {
                domain: domain!($($domain)?),
                name: stringify!($operator),
                since: $since,
                translation: crate::$module::$function,
            },
        )*)*];
    };
}
for_each_family!(table);

/// Every operator, in the table's order.
pub fn operators() -> &'static [Operator] {
    OPERATORS
}

/// The operator of a node, if its opset is one that is covered.
pub fn operator(node: &nnc_onnx::Node) -> Option<&'static Operator> {
    find(&node.domain, &node.op_type).filter(|operator| node.opset >= operator.since)
}

/// The operator of that name; `ai.onnx` is the same domain as the empty one.
pub fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    OPERATORS.iter().find(|o| o.name == name && o.domain == domain)
}
