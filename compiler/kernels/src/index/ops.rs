//! Arithmetic of indices: that of the dimension inside.

use super::Index;
use nnc_ir::Dim;

impl From<i64> for Index {
    fn from(value: i64) -> Index {
        Index(Dim::from(value))
    }
}

impl From<i32> for Index {
    fn from(value: i32) -> Index {
        Index(Dim::from(value))
    }
}

impl From<usize> for Index {
    /// Sizes beyond `i64` become [`Index::OVERFLOW`].
    fn from(value: usize) -> Index {
        Index(Dim::from(value))
    }
}

macro_rules! operators {
    ($($tr:ident::$method:ident $op:tt),* $(,)?) => { $(
        impl std::ops::$tr<&Index> for &Index {
            type Output = Index;
            fn $method(self, rhs: &Index) -> Index { Index(&self.0 $op &rhs.0) }
        }
        impl std::ops::$tr<Index> for &Index {
            type Output = Index;
            fn $method(self, rhs: Index) -> Index { Index(&self.0 $op rhs.0) }
        }
        impl std::ops::$tr<&Index> for Index {
            type Output = Index;
            fn $method(self, rhs: &Index) -> Index { Index(self.0 $op &rhs.0) }
        }
        impl std::ops::$tr<Index> for Index {
            type Output = Index;
            fn $method(self, rhs: Index) -> Index { Index(self.0 $op rhs.0) }
        }
        impl std::ops::$tr<i64> for &Index {
            type Output = Index;
            fn $method(self, rhs: i64) -> Index { Index(&self.0 $op rhs) }
        }
        impl std::ops::$tr<i64> for Index {
            type Output = Index;
            fn $method(self, rhs: i64) -> Index { Index(self.0 $op rhs) }
        }
    )* };
}
operators!(Add::add +, Sub::sub -, Mul::mul *);

impl std::ops::Neg for &Index {
    type Output = Index;
    fn neg(self) -> Index {
        Index(-&self.0)
    }
}

impl std::ops::Neg for Index {
    type Output = Index;
    fn neg(self) -> Index {
        Index(-self.0)
    }
}

impl Index {
    /// Rounded toward minus infinity; undefined where the divisor is 0.
    pub fn floor_div(&self, divisor: &Index) -> Index {
        Index(self.0.floor_div(&divisor.0))
    }

    /// Rounded toward plus infinity; undefined where the divisor is 0.
    pub fn ceil_div(&self, divisor: &Index) -> Index {
        Index(self.0.ceil_div(&divisor.0))
    }

    /// `self - divisor * floor(self / divisor)`: the sign of the divisor.
    pub fn rem(&self, divisor: &Index) -> Index {
        Index(self.0.rem(&divisor.0))
    }

    /// The lesser.
    pub fn min(&self, other: &Index) -> Index {
        Index(self.0.min(&other.0))
    }

    /// The greater.
    pub fn max(&self, other: &Index) -> Index {
        Index(self.0.max(&other.0))
    }

    /// 1 when equal, else 0.
    pub fn eq01(&self, other: &Index) -> Index {
        Index(self.0.eq01(&other.0))
    }

    /// 1 when less than `other`, else 0.
    pub fn lt01(&self, other: &Index) -> Index {
        Index(self.0.lt01(&other.0))
    }

    /// `then` where `self` is not 0, else `otherwise`.
    pub fn select(&self, then: &Index, otherwise: &Index) -> Index {
        Index(self.0.select(&then.0, &otherwise.0))
    }

    /// The index that multiplied by `divisor` gives `self`, if there is one.
    pub fn div_exact(&self, divisor: &Index) -> Option<Index> {
        self.0.div_exact(&divisor.0).map(Index)
    }
}
