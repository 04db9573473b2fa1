//! What the scripts cannot show: effects, and what is copied.
