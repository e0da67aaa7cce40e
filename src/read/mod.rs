//! How bytes of JSON become batches of conversations: pieces are cut at element borders as they come, parsed in
//! parallel, and laid out as Arrow columns. Opens no file; which fields a format uses comes from the caller.
//!
//! | file | question it answers |
//! |---|---|
//! | `split` | where does one element end and the next begin |
//! | `salvage` | which whole elements lie within broken ones |
//! | `value` | what is one JSON value: text, time, a path into it |
//! | `message` | who says what in one message, whoever wrote it |
//! | `mapped` | what does an element say whose format is only field names |
//! | `shapes/` | what does an element say whose format is a structure: one file per format |
//! | `conversation` | what is a conversation, and how do many become a batch |
//! | `reader` | all of it in order |

mod conversation;
mod mapped;
mod message;
mod reader;
mod salvage;
mod shapes;
mod split;
mod value;

pub use conversation::conversation_schema;
pub use mapped::Mapping;
pub use reader::{Broken, JsonReader};
pub use shapes::Shape;
pub use split::Layout;
