//! The bytes of a body, in memory pages of their own. An allocator would keep the gaps that large blocks leave while they
//! grow.

use std::io;
use std::ops::Deref;

use memmap2::MmapMut;

/// Bytes with a fixed limit. What is not yet filled takes no memory.
#[derive(Debug)]
pub(crate) struct Body {
    pages: MmapMut,
    size: usize,
}

impl Body {
    /// Room for so many bytes.
    pub fn new(limit: usize) -> io::Result<Self> {
        let pages = MmapMut::map_anon(limit.max(1))?;
        // Else the first byte may take 2 MiB. A kernel without huge pages does not know the advice.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::NoHugePage);
        Ok(Self { pages, size: 0 })
    }

    /// Adds bytes.
    ///
    /// # Panics
    /// They are more than it has room for.
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.size + bytes.len();
        self.pages[self.size..end].copy_from_slice(bytes);
        self.size = end;
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages[..self.size]
    }
}
