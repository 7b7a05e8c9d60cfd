//! A sink that takes everything, and keeps it for whoever looks.

use fanfare_core::{Ending, Input, Sink, Token};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

#[derive(Default, Clone)]
pub struct Tap(pub Arc<Mutex<Vec<u8>>>);

impl Sink for Tap {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = self.0.lock().unwrap();
        for slice in slices {
            taken.extend_from_slice(slice);
        }
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(Input::Open)
    }

    fn finish(&mut self) -> Ending {
        Ending::Done
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}
