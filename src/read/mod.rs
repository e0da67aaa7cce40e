//! How bytes of JSON become batches of conversations: pieces are cut at element borders as they come, parsed in
//! parallel, and laid out as Arrow columns. Opens no file; which fields a format uses comes from the caller.

mod conversation;
mod split;

pub use conversation::{Broken, JsonReader, Mapping, conversation_schema};
pub use split::Layout;
