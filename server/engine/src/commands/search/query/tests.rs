//! What replies cannot show.
