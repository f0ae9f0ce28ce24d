//! What two nodes say to each other, over byte pipes that cut wherever they like.

mod credit;
mod exchanges;
mod faults;
mod frames;
mod lines;
mod messages;
mod one_stream;
mod pair;
