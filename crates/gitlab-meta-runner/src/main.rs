//! The front: finds the right program beside it and becomes it

fn main() {}
