//! Memory in a zone: pages of 4 KB, each cut into chunks of one size or part of a run of whole pages, as nginx's slab pool does.
//!
//! ```text
//! base          header: first free run, partial list of every class, pages in use
//! base + 256    one descriptor of 32 bytes per page
//! data          the pages
//! ```
//!
//! Differences from nginx: sizes between powers of two exist (a 40-byte entry takes 48 bytes, not 64), and all bookkeeping
//! is outside the pages, so that it can be thrown away and rebuilt from a list of what is in use ([`Slab::rebuild`]).
//! That is what makes a process killed in the middle of an allocation harmless.
//!
//! The caller holds the lock that guards the zone. Offsets are from the region's start; chunks are multiples of 8.

use crate::{
    error::{Error, Result},
    map::Region,
};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Chunk sizes, bytes. Anything larger takes whole pages.
const CLASSES: [usize; 13] = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1360, 2048];
const CHUNK_MAX: usize = CLASSES[CLASSES.len() - 1];
/// The class of a size in units of 16 bytes.
const CLASS_OF: [u8; CHUNK_MAX / 16 + 1] = class_table();

const HEADER: usize = 256;
const FREE_HEAD: usize = 0;
const PAGES_USED: usize = 4;
const PARTIAL: usize = 16;
const DESCRIPTOR: usize = 32;

// Fields of a descriptor.
const KIND: usize = 0;
const COUNT: usize = 4;
const NEXT: usize = 8;
const PREV: usize = 12;
const BITMAP: usize = 16;

// Kinds of page. 0 would be what zero-filled memory says; it is none of them, so a page that was never described is noticed.
/// First page of a free run; COUNT is the run's length.
const FREE: u32 = 1;
/// Last page of a free run longer than one; COUNT is the run's length.
const FREE_END: u32 = 2;
/// Inside a free run.
const FREE_MIDDLE: u32 = 3;
/// First page of a run in use; COUNT is the run's length.
const RUN: u32 = 4;
/// Any other page of a run in use.
const RUN_REST: u32 = 5;
/// Cut into chunks, BITMAP tells which are in use. The class is added to it.
const CHUNKS: u32 = 16;

const fn class_table() -> [u8; CHUNK_MAX / 16 + 1] {
    let mut table = [0; CHUNK_MAX / 16 + 1];
    let (mut i, mut class) = (0, 0);
    while i < table.len() {
        if i * 16 > CLASSES[class] {
            class += 1;
        }
        table[i] = class as u8;
        i += 1;
    }
    table
}

fn class_of(size: usize) -> usize {
    CLASS_OF[size.div_ceil(16)].into()
}

/// How many chunks of a class a page has, at most 128.
fn chunks(class: usize) -> u32 {
    (PAGE / CLASSES[class]) as u32
}

/// An allocator over a piece of a region. The handle keeps only constants; all state is in the region.
#[derive(Clone, Debug)]
pub struct Slab {
    region: Region,
    base: usize,
    data: usize,
    pages: u32,
}

/// What an allocator has given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pages there are.
    pub pages: u32,
    /// Pages not free.
    pub pages_used: u32,
}

impl Slab {
    /// Takes `region` from `base` (a multiple of 8) to its end as an empty allocator.
    pub fn format(region: &Region, base: usize) -> Result<Self> {
        let slab = Self::open(region, base)?;
        slab.reset()?;
        Ok(slab)
    }

    /// The allocator that [`format`](Self::format) made there.
    pub fn open(region: &Region, base: usize) -> Result<Self> {
        let have = region.len().saturating_sub(base);
        let need = HEADER + DESCRIPTOR + PAGE;
        if have < need || !base.is_multiple_of(8) {
            return Err(Error::TooSmall { have, need });
        }
        let pages = (have - HEADER) / (PAGE + DESCRIPTOR);
        let pages =
            u32::try_from(pages).map_err(|_| Error::TooLong { have, max: u32::MAX as usize * PAGE })?;
        let data = base + HEADER + pages as usize * DESCRIPTOR;
        Ok(Self { region: region.clone(), base, data, pages })
    }

    /// Forgets every allocation.
    pub fn reset(&self) -> Result<()> {
        self.rebuild(std::iter::empty())
    }

    /// The largest size that [`alloc`](Self::alloc) could ever give.
    pub fn size_max(&self) -> usize {
        self.pages as usize * PAGE
    }

    /// The bytes that an allocation of `size` really takes, so that the caller may grow into them.
    pub fn rounded(size: usize) -> usize {
        if size <= CHUNK_MAX { CLASSES[class_of(size)] } else { size.next_multiple_of(PAGE) }
    }

    /// Pages in all and in use.
    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage { pages: self.pages, pages_used: self.region.load32(self.base + PAGES_USED)? })
    }

    /// The offset of `size` bytes of undefined content; `None` when there is no room.
    pub fn alloc(&self, size: usize) -> Result<Option<usize>> {
        if size > CHUNK_MAX {
            let pages = size.div_ceil(PAGE);
            return match u32::try_from(pages) {
                Ok(pages) => Ok(self.take_run(pages)?.map(|page| self.address(page))),
                Err(_) => Ok(None),
            };
        }
        let class = class_of(size);
        let first = self.region.load32(self.partial(class))?;
        let page = match first {
            0 => {
                let Some(page) = self.take_run(1)? else { return Ok(None) };
                self.set(page, KIND, CHUNKS + class as u32)?;
                self.region.store64(self.descriptor(page) + BITMAP, 0)?;
                self.region.store64(self.descriptor(page) + BITMAP + 8, 0)?;
                self.link(self.partial(class), page)?;
                page
            }
            link => self.page_of_link(link)?,
        };
        self.take_chunk(page, class).map(Some)
    }

    /// Takes back what `alloc` gave. [`Error::Corrupt`] for any other offset; nothing is changed then.
    pub fn free(&self, offset: usize) -> Result<()> {
        let page = self.page_at(offset)?;
        match self.field(page, KIND)? {
            RUN if offset == self.address(page) => {
                let count = self.field(page, COUNT)?;
                self.give_run(page, count)
            }
            kind if self.chunk_class(kind).is_some() => {
                let class = (kind - CHUNKS) as usize;
                self.give_chunk(page, class, offset - self.address(page))
            }
            _ => Err(Error::Corrupt("freed what was not allocated")),
        }
    }

    /// Throws all bookkeeping away and describes instead exactly the allocations in `used`: (offset, size) pairs. On
    /// [`Error::Corrupt`] – they overlap or cannot have come from here – the allocator is unusable until the next rebuild.
    pub fn rebuild(&self, used: impl IntoIterator<Item = (usize, usize)>) -> Result<()> {
        self.region.zero(self.base, HEADER + self.pages as usize * DESCRIPTOR)?;
        for (offset, size) in used {
            self.mark_used(offset, size)?;
        }
        let (mut page, mut in_use) = (0, 0);
        while page < self.pages {
            let kind = self.field(page, KIND)?;
            if kind == 0 {
                let mut end = page;
                while end < self.pages && self.field(end, KIND)? == 0 {
                    self.set(end, KIND, FREE_MIDDLE)?;
                    end += 1;
                }
                self.describe_length(page, end - page)?;
                self.link(self.base + FREE_HEAD, page)?;
                page = end;
                continue;
            }
            in_use += 1;
            if let Some(class) = self.chunk_class(kind)
                && self.bitmap(page)?.count_ones() < chunks(class)
            {
                self.link(self.partial(class), page)?;
            }
            page += 1;
        }
        self.region.store32(self.base + PAGES_USED, in_use)
    }

    // --- chunks

    fn take_chunk(&self, page: u32, class: usize) -> Result<usize> {
        if self.field(page, KIND)? != CHUNKS + class as u32 {
            return Err(Error::Corrupt("a page of another kind is in a chunk list"));
        }
        let bitmap = self.bitmap(page)?;
        let chunk = (!bitmap).trailing_zeros();
        if chunk >= chunks(class) {
            return Err(Error::Corrupt("a full page is in a chunk list"));
        }
        self.set_bitmap(page, bitmap | 1 << chunk, chunk)?;
        if bitmap.count_ones() + 1 == chunks(class) {
            self.unlink(self.partial(class), page)?;
        }
        Ok(self.address(page) + chunk as usize * CLASSES[class])
    }

    fn give_chunk(&self, page: u32, class: usize, within: usize) -> Result<()> {
        let chunk = (within / CLASSES[class]) as u32;
        let bitmap = self.bitmap(page)?;
        if !within.is_multiple_of(CLASSES[class]) || chunk >= chunks(class) || bitmap >> chunk & 1 == 0 {
            return Err(Error::Corrupt("freed what was not allocated"));
        }
        self.set_bitmap(page, bitmap & !(1 << chunk), chunk)?;
        let count = bitmap.count_ones();
        if count == chunks(class) {
            self.link(self.partial(class), page)?;
        }
        if count == 1 {
            self.unlink(self.partial(class), page)?;
            self.give_run(page, 1)?;
        }
        Ok(())
    }

    fn bitmap(&self, page: u32) -> Result<u128> {
        let at = self.descriptor(page) + BITMAP;
        Ok(u128::from(self.region.load64(at)?) | u128::from(self.region.load64(at + 8)?) << 64)
    }

    /// Stores the half of the bitmap in which `chunk` lies.
    fn set_bitmap(&self, page: u32, bitmap: u128, chunk: u32) -> Result<()> {
        let half = chunk / 64;
        self.region
            .store64(self.descriptor(page) + BITMAP + half as usize * 8, (bitmap >> (half * 64)) as u64)
    }

    fn chunk_class(&self, kind: u32) -> Option<usize> {
        kind.checked_sub(CHUNKS).map(|class| class as usize).filter(|&class| class < CLASSES.len())
    }

    // --- runs of pages

    /// First fit; the end of a longer run is taken, so that its place in the list stays.
    fn take_run(&self, pages: u32) -> Result<Option<u32>> {
        let mut link = self.region.load32(self.base + FREE_HEAD)?;
        for _ in 0..=self.pages {
            if link == 0 {
                return Ok(None);
            }
            let run = self.page_of_link(link)?;
            let length = self.free_length(run)?;
            if length < pages {
                link = self.field(run, NEXT)?;
                continue;
            }
            let taken = run + (length - pages);
            if length == pages {
                self.unlink(self.base + FREE_HEAD, run)?;
            } else {
                self.describe_length(run, length - pages)?;
            }
            self.describe_run(taken, pages)?;
            self.count_pages(|used| used.wrapping_add(pages))?;
            return Ok(Some(taken));
        }
        Err(Error::Corrupt("the list of free pages does not end"))
    }

    /// Joins the run with its free neighbours. Pages that end up inside the joint run are marked so, lest a stale description
    /// be taken for a neighbour's end later.
    fn give_run(&self, mut page: u32, mut pages: u32) -> Result<()> {
        if pages == 0 || pages > self.pages - page {
            return Err(Error::Corrupt("length of a run of pages"));
        }
        for inside in page..page + pages {
            self.set(inside, KIND, FREE_MIDDLE)?;
        }
        self.count_pages(|used| used.wrapping_sub(pages))?;
        let after = page + pages;
        if after < self.pages && self.field(after, KIND)? == FREE {
            pages += self.free_length(after)?;
            self.unlink(self.base + FREE_HEAD, after)?;
            self.set(after, KIND, FREE_MIDDLE)?;
        }
        if page > 0 && matches!(self.field(page - 1, KIND)?, FREE | FREE_END) {
            let length = self.field(page - 1, COUNT)?;
            let before = page.checked_sub(length).ok_or(Error::Corrupt("length of a free run"))?;
            if self.free_length(before)? != length {
                return Err(Error::Corrupt("length of a free run"));
            }
            self.unlink(self.base + FREE_HEAD, before)?;
            self.set(page - 1, KIND, FREE_MIDDLE)?;
            pages += length;
            page = before;
        }
        self.describe_length(page, pages)?;
        self.link(self.base + FREE_HEAD, page)
    }

    fn free_length(&self, run: u32) -> Result<u32> {
        let length = self.field(run, COUNT)?;
        if self.field(run, KIND)? != FREE || length == 0 || length > self.pages - run {
            return Err(Error::Corrupt("a page in the free list is not free"));
        }
        Ok(length)
    }

    fn describe_run(&self, page: u32, pages: u32) -> Result<()> {
        self.set(page, KIND, RUN)?;
        self.set(page, COUNT, pages)?;
        for rest in page + 1..page + pages {
            self.set(rest, KIND, RUN_REST)?;
        }
        Ok(())
    }

    fn describe_length(&self, page: u32, pages: u32) -> Result<()> {
        self.set(page, KIND, FREE)?;
        self.set(page, COUNT, pages)?;
        if pages > 1 {
            self.set(page + pages - 1, KIND, FREE_END)?;
            self.set(page + pages - 1, COUNT, pages)?;
        }
        Ok(())
    }

    fn count_pages(&self, change: impl FnOnce(u32) -> u32) -> Result<()> {
        let used = self.region.load32(self.base + PAGES_USED)?;
        self.region.store32(self.base + PAGES_USED, change(used))
    }

    fn mark_used(&self, offset: usize, size: usize) -> Result<()> {
        const WRONG: Error = Error::Corrupt("allocations overlap");
        let page = self.page_at(offset)?;
        let within = offset - self.address(page);
        let kind = self.field(page, KIND)?;
        if size > CHUNK_MAX {
            let pages = u32::try_from(size.div_ceil(PAGE)).map_err(|_| WRONG)?;
            if within != 0 || pages > self.pages - page {
                return Err(WRONG);
            }
            for each in page..page + pages {
                if self.field(each, KIND)? != 0 {
                    return Err(WRONG);
                }
            }
            return self.describe_run(page, pages);
        }
        let class = class_of(size);
        let chunk = (within / CLASSES[class]) as u32;
        if !within.is_multiple_of(CLASSES[class]) || chunk >= chunks(class) {
            return Err(WRONG);
        }
        let bitmap = self.bitmap(page)?;
        if kind != 0 && kind != CHUNKS + class as u32 || bitmap >> chunk & 1 != 0 {
            return Err(WRONG);
        }
        self.set(page, KIND, CHUNKS + class as u32)?;
        self.set_bitmap(page, bitmap | 1 << chunk, chunk)
    }

    // --- lists: a link is the page's number plus one, 0 ends the list; PREV of the first page is 0

    fn link(&self, head: usize, page: u32) -> Result<()> {
        let first = self.region.load32(head)?;
        self.set(page, NEXT, first)?;
        self.set(page, PREV, 0)?;
        if first != 0 {
            self.set(self.page_of_link(first)?, PREV, page + 1)?;
        }
        self.region.store32(head, page + 1)
    }

    fn unlink(&self, head: usize, page: u32) -> Result<()> {
        let (next, prev) = (self.field(page, NEXT)?, self.field(page, PREV)?);
        match prev {
            0 => self.region.store32(head, next)?,
            link => self.set(self.page_of_link(link)?, NEXT, next)?,
        }
        if next != 0 {
            self.set(self.page_of_link(next)?, PREV, prev)?;
        }
        Ok(())
    }

    fn page_of_link(&self, link: u32) -> Result<u32> {
        match link.checked_sub(1) {
            Some(page) if page < self.pages => Ok(page),
            _ => Err(Error::Corrupt("page number")),
        }
    }

    // --- addresses

    fn partial(&self, class: usize) -> usize {
        self.base + PARTIAL + class * 4
    }

    fn descriptor(&self, page: u32) -> usize {
        self.base + HEADER + page as usize * DESCRIPTOR
    }

    fn address(&self, page: u32) -> usize {
        self.data + page as usize * PAGE
    }

    fn page_at(&self, offset: usize) -> Result<u32> {
        let page = offset.checked_sub(self.data).ok_or(Error::Corrupt("offset outside the pages"))? / PAGE;
        if page >= self.pages as usize {
            return Err(Error::Corrupt("offset outside the pages"));
        }
        Ok(page as u32)
    }

    fn field(&self, page: u32, field: usize) -> Result<u32> {
        self.region.load32(self.descriptor(page) + field)
    }

    fn set(&self, page: u32, field: usize, value: u32) -> Result<()> {
        self.region.store32(self.descriptor(page) + field, value)
    }
}

#[cfg(test)]
mod tests;
