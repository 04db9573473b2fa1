//! FT.AGGREGATE as a library: rows go in, through steps, and come out.
//!
//! ```
//! use cairn_search::aggregate::{Pipeline, Reducer, Row, Step, Value};
//!
//! let mut pipeline = Pipeline::new(&[b"brand".to_vec(), b"price".to_vec()]);
//! let count = Reducer::parse(b"COUNT", &[], None).unwrap();
//! pipeline.add(Step::GroupBy { by: vec![b"brand".to_vec()], reducers: vec![count] }).unwrap();
//! let mut run = pipeline.run(7);
//! for brand in ["acme", "acme", "other"] {
//!     run.push(Row::new(vec![Some(Value::text(brand)), None])).unwrap();
//! }
//! let rows = run.finish().unwrap();
//! assert_eq!(rows.len(), 2);
//! assert_eq!(pipeline.columns(), [b"brand".to_vec(), b"__generated_aliascount".to_vec()]);
//! ```
//!
//! Where a row's first values come from (LOAD, sortable fields) is the caller's: [`Pipeline::new`] is given their names.

mod evaluate;
mod expression;
mod functions;
mod pipeline;
mod reducers;
mod time;
mod value;

pub use evaluate::Properties;
pub use expression::Expression;
pub use functions::Function;
pub use pipeline::{Finished, GROUPS_MAX, Pipeline, Row, Run, SORTED_DEFAULT, SortKey, Step};
pub use reducers::Reducer;
pub use value::{Incomparable, Value, general, number_text};
