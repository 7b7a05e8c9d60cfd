//! The far end of a compressed connection. It reads with two inflaters: one is fed what the sink was offered, and says
//! what is in each block as soon as it is begun, which is when the engine made it; the other is fed what the sink took,
//! as a client is, and must have read the same whenever a block is complete.

use flate2::{Decompress, FlushDecompress, Status};

const HEADER: usize = 10;
/// The sum and the length, behind the last block.
const TRAILER: usize = 8;

#[derive(Debug, Default)]
pub struct Gunzip {
    offered: Inflater,
    taken: Inflater,
    /// Of what was begun, the sink has yet to take this.
    pending: Vec<u8>,
    /// How much of what was offered is in complete blocks.
    pub complete: usize,
    pub wire: usize,
    pub faults: Vec<String>,
}

#[derive(Debug)]
struct Inflater {
    inflate: Decompress,
    head: Vec<u8>,
    out: Vec<u8>,
    ended: bool,
    trailer: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        let inflate = Decompress::new(false);
        Self { inflate, head: Vec::new(), out: Vec::new(), ended: false, trailer: Vec::new() }
    }
}

impl Inflater {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let head = bytes.len().min(HEADER - self.head.len());
        self.head.extend_from_slice(&bytes[..head]);
        bytes = &bytes[head..];
        while !bytes.is_empty() && !self.ended {
            self.out.reserve(64 * 1024);
            let before = self.inflate.total_in();
            let status = self.inflate.decompress_vec(bytes, &mut self.out, FlushDecompress::None);
            let status = status.map_err(|error| format!("after {} bytes: {error}", self.out.len()))?;
            bytes = &bytes[(self.inflate.total_in() - before) as usize..];
            self.ended = status == Status::StreamEnd;
        }
        self.trailer.extend_from_slice(bytes);
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        let whole = self.trailer.len() == TRAILER;
        let sum = [crc32fast::hash(&self.out).to_le_bytes(), (self.out.len() as u32).to_le_bytes()].concat();
        if self.ended && whole && self.trailer != sum {
            return Err(format!("the trailer says {:?}, and not {sum:?}", self.trailer));
        }
        if !whole && (self.ended || !self.trailer.is_empty()) {
            return Err("a trailer that is none".into());
        }
        Ok(())
    }
}

impl Gunzip {
    /// The sink was offered these, and took so much. Returns what is in the blocks that it began to take.
    pub fn write<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>, took: usize) -> Vec<u8> {
        let before = self.offered.out.len();
        let mut left = took;
        for slice in slices {
            if left > 0
                && let Err(error) = self.take(slice, left.min(slice.len()))
            {
                self.faults.push(error);
            }
            left -= left.min(slice.len());
        }
        self.offered.out[before..].to_vec()
    }

    /// Takes some of a slice, which is what is left of a block or a whole one.
    fn take(&mut self, slice: &[u8], took: usize) -> Result<(), String> {
        if self.pending.is_empty() {
            self.offered.feed(slice)?;
        } else if self.pending != slice {
            return Err(format!("something comes before the {} bytes that are left of a block", self.pending.len()));
        }
        self.pending = slice[took..].to_vec();
        self.wire += took;
        self.taken.feed(&slice[..took])?;
        if self.pending.is_empty() {
            self.complete = self.offered.out.len();
            if self.taken.out != self.offered.out {
                return Err(format!("{} of {} bytes can be read", self.taken.out.len(), self.complete));
            }
            self.taken.check_end()?;
        }
        Ok(())
    }
}
