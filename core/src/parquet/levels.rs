//! Values of a column with their nesting, as Parquet stores them (Melnik et al. 2010, "Dremel").
//!
//! A definition level says how many of the optional and repeated groups around a value are there; a repetition level of 0
//! begins a row, and one of 1 continues a list.

use std::io::Write;

use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedRowGroupWriter;

/// The values of a column.
pub(super) struct Leaf<T: DataType> {
    values: Vec<T::T>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

// Derived, it would need `T: Default`.
impl<T: DataType> Default for Leaf<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() }
    }
}

impl<T: DataType> Leaf<T> {
    /// A row of a required column.
    pub(super) fn required(&mut self, value: T::T) {
        self.values.push(value);
    }

    /// A row of an optional column.
    pub(super) fn optional(&mut self, value: Option<T::T>) {
        self.definition.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// A row of an optional list of required values.
    pub(super) fn list(&mut self, row: Option<impl Iterator<Item = T::T>>) {
        let values = row.map(|values| values.map(|value| (2, Some(value))));
        self.nested(values);
    }

    /// A row of an optional list of optional values.
    pub(super) fn list_of_optional(&mut self, row: Option<impl Iterator<Item = Option<T::T>>>) {
        let values = row.map(|values| values.map(|value| (2 + i16::from(value.is_some()), value)));
        self.nested(values);
    }

    fn nested(&mut self, row: Option<impl Iterator<Item = (i16, Option<T::T>)>>) {
        let before = self.definition.len();
        let is_list = row.is_some();
        for (definition, value) in row.into_iter().flatten() {
            self.repetition.push(i16::from(self.definition.len() > before));
            self.definition.push(definition);
            self.values.extend(value);
        }
        if self.definition.len() == before {
            self.repetition.push(0);
            self.definition.push(i16::from(is_list));
        }
    }

    /// Writes the values as the next column of a row group.
    pub(super) fn write<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("the schema has fewer columns".to_owned()));
        };
        let levels = |levels: &[i16]| (!levels.is_empty()).then(|| levels.to_vec());
        let (definition, repetition) = (levels(&self.definition), levels(&self.repetition));
        column.typed::<T>().write_batch(&self.values, definition.as_deref(), repetition.as_deref())?;
        column.close()
    }
}

#[cfg(test)]
mod tests {
    use parquet::data_type::Int64Type;

    use super::*;

    #[test]
    fn levels_tell_absent_lists_empty_lists_and_values_apart() {
        let mut list = Leaf::<Int64Type>::default();
        list.list(Some([7, 8, 9].into_iter()));
        list.list(None::<std::iter::Empty<i64>>);
        list.list(Some([].into_iter()));
        list.list(Some([1].into_iter()));
        assert_eq!(list.values, [7, 8, 9, 1]);
        assert_eq!(list.definition, [2, 2, 2, 0, 1, 2]);
        assert_eq!(list.repetition, [0, 1, 1, 0, 0, 0]);
        let mut list = Leaf::<Int64Type>::default();
        list.list_of_optional(Some([None, Some(5)].into_iter()));
        assert_eq!((list.values, list.definition, list.repetition), (vec![5], vec![2, 3], vec![0, 1]));
        let mut column = Leaf::<Int64Type>::default();
        column.optional(None);
        column.optional(Some(3));
        assert_eq!((column.values, column.definition), (vec![3], vec![0, 1]));
    }
}
