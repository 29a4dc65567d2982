//! PCRE2's C interface, as much of it as `ngx.re` needs: patterns over bytes, options by number, JIT, the DFA matcher,
//! names with duplicates, match limits.
//!
//! A [`Code`] is used by one thread and holds the memory its matches need, so a match allocates nothing.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use pcre2_sys as sys;

/// Bits of [`Code::compile`].
pub mod option {
    use pcre2_sys as sys;

    /// `a`.
    pub const ANCHORED: u32 = sys::PCRE2_ANCHORED;
    /// `i`.
    pub const CASELESS: u32 = sys::PCRE2_CASELESS;
    /// `D`.
    pub const DUPNAMES: u32 = sys::PCRE2_DUPNAMES;
    /// `m`.
    pub const MULTILINE: u32 = sys::PCRE2_MULTILINE;
    /// `s`.
    pub const DOTALL: u32 = sys::PCRE2_DOTALL;
    /// `x`.
    pub const EXTENDED: u32 = sys::PCRE2_EXTENDED;
    /// `u`.
    pub const UTF: u32 = sys::PCRE2_UTF;
    /// `U`: text that is not UTF-8 matches nothing. Where PCRE2 would be told not to check, it would read beyond the text.
    pub const UTF_UNCHECKED: u32 = sys::PCRE2_UTF | sys::PCRE2_MATCH_INVALID_UTF;
    /// `J`.
    pub const JAVASCRIPT: u32 =
        sys::PCRE2_ALT_BSUX | sys::PCRE2_ALLOW_EMPTY_CLASS | sys::PCRE2_MATCH_UNSET_BACKREF;
}

/// Numbers of working space of the DFA matcher. It is on the stack.
const DFA_WORKSPACE: usize = 1000;
/// Bytes of the stack of compiled matches: at first, and at most.
const JIT_STACK: (usize, usize) = (32 << 10, 1 << 20);

/// A part of the text a group matched: where it begins and ends.
pub type Span = Option<(usize, usize)>;

/// Why a pattern was refused.
#[derive(Debug)]
pub struct Refused {
    /// PCRE2's words.
    pub message: String,
    /// Where in the pattern.
    pub offset: usize,
}

/// What a match found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// Nothing.
    No,
    /// The groups below this number may have taken part, the others have not.
    Groups(usize),
    /// PCRE2's number of what went wrong.
    Failed(i32),
}

/// A compiled pattern.
pub struct Code {
    code: NonNull<sys::pcre2_code_8>,
    data: NonNull<sys::pcre2_match_data_8>,
    /// Groups besides the whole match that a match tells of.
    pub groups: usize,
    /// Names and the groups they stand for, in the order of PCRE2's table: by name.
    pub names: Vec<(Box<[u8]>, usize)>,
    dfa: bool,
    one_thread: PhantomData<*mut ()>,
}

impl Code {
    /// Compiles `pattern`; with `dfa` for the matcher that looks for the longest match and knows no groups.
    ///
    /// # Errors
    /// It is no pattern.
    pub fn compile(pattern: &[u8], options: u32, dfa: bool) -> Result<Self, Refused> {
        let (mut error, mut offset) = (0, 0);
        // SAFETY: pointer and length describe the pattern, the other pointers are live places.
        let code = unsafe {
            sys::pcre2_compile_8(
                pattern.as_ptr(),
                pattern.len(),
                options,
                &mut error,
                &mut offset,
                null_mut(),
            )
        };
        let Some(code) = NonNull::new(code) else {
            return Err(Refused { message: message(error), offset });
        };
        // SAFETY: the code was made above.
        let data = unsafe {
            if dfa {
                sys::pcre2_match_data_create_8(1, null_mut())
            } else {
                sys::pcre2_match_data_create_from_pattern_8(code.as_ptr(), null_mut())
            }
        };
        let Some(data) = NonNull::new(data) else {
            // SAFETY: nobody else has it.
            unsafe { sys::pcre2_code_free_8(code.as_ptr()) };
            return Err(Refused { message: "no memory".into(), offset: 0 });
        };
        let mut code = Self { code, data, groups: 0, names: Vec::new(), dfa, one_thread: PhantomData };
        code.names = code.read_names();
        if !dfa {
            code.groups = code.number(sys::PCRE2_INFO_CAPTURECOUNT);
        }
        Ok(code)
    }

    /// Compiles the pattern further, to machine code. A pattern for which that cannot be done is matched as before.
    pub fn jit(&mut self) {
        // SAFETY: a live code that nobody else uses.
        unsafe { sys::pcre2_jit_compile_8(self.code.as_ptr(), sys::PCRE2_JIT_COMPLETE) };
    }

    fn number(&self, what: u32) -> usize {
        let mut number = 0u32;
        // SAFETY: what is asked for in this file is a `uint32_t`.
        unsafe { sys::pcre2_pattern_info_8(self.code.as_ptr(), what, (&raw mut number).cast()) };
        number as usize
    }

    fn read_names(&self) -> Vec<(Box<[u8]>, usize)> {
        let count = self.number(sys::PCRE2_INFO_NAMECOUNT);
        let size = self.number(sys::PCRE2_INFO_NAMEENTRYSIZE);
        let mut table: *const u8 = std::ptr::null();
        // SAFETY: the table's address is a pointer.
        unsafe {
            sys::pcre2_pattern_info_8(self.code.as_ptr(), sys::PCRE2_INFO_NAMETABLE, (&raw mut table).cast())
        };
        if table.is_null() || size < 3 {
            return Vec::new();
        }
        // SAFETY: the table has `count` entries of `size` bytes and lives as long as the code.
        let table = unsafe { std::slice::from_raw_parts(table, count * size) };
        let entry = |entry: &[u8]| {
            let name = &entry[2..];
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            (name[..end].into(), usize::from(entry[0]) << 8 | usize::from(entry[1]))
        };
        table.chunks_exact(size).map(entry).collect()
    }

    /// Looks for a match in `text` from byte `start` on; what the groups matched is put into `spans`, the whole match first.
    /// `limit`: how much may be tried, 0: PCRE2's default.
    pub fn find(&self, text: &[u8], start: usize, limit: u32, spans: &mut impl Extend<Span>) -> Matched {
        let context = context(limit);
        let (code, data) = (self.code.as_ptr(), self.data.as_ptr());
        let (pointer, len) = (text.as_ptr(), text.len());
        let found = if self.dfa {
            let mut workspace = [0; DFA_WORKSPACE];
            // SAFETY: pointer and length describe the text; code, data and context are live and used by this thread alone.
            unsafe {
                sys::pcre2_dfa_match_8(
                    code,
                    pointer,
                    len,
                    start,
                    0,
                    data,
                    context,
                    workspace.as_mut_ptr(),
                    DFA_WORKSPACE,
                )
            }
        } else {
            // SAFETY: as above.
            unsafe { sys::pcre2_match_8(code, pointer, len, start, 0, data, context) }
        };
        let groups = match found {
            sys::PCRE2_ERROR_NOMATCH => return Matched::No,
            failed if failed < 0 => return Matched::Failed(failed),
            // the DFA matcher found more than there is room to tell: the longest is told
            0 => 1,
            groups => groups as usize,
        };
        // SAFETY: after a match the vector has a pair for each of the data's places, at least one.
        let pairs = unsafe {
            let count = sys::pcre2_get_ovector_count_8(data) as usize;
            std::slice::from_raw_parts(sys::pcre2_get_ovector_pointer_8(data), count * 2)
        };
        spans.extend((0..=self.groups).map(|group| {
            let pair = pairs.get(group * 2..group * 2 + 2)?;
            let unset = group >= groups || pair[0] > pair[1] || pair[1] > len;
            (!unset).then_some((pair[0], pair[1]))
        }));
        Matched::Groups(groups)
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: both were made for this value and are not used any more.
        unsafe {
            sys::pcre2_match_data_free_8(self.data.as_ptr());
            sys::pcre2_code_free_8(self.code.as_ptr());
        }
    }
}

/// The words for one of PCRE2's numbers.
fn message(error: i32) -> String {
    let mut text = [0u8; 256];
    // SAFETY: the buffer and its length.
    let len = unsafe { sys::pcre2_get_error_message_8(error, text.as_mut_ptr(), text.len()) };
    String::from_utf8_lossy(&text[..usize::try_from(len).unwrap_or(0).min(text.len())]).into_owned()
}

/// What all matches of a thread share: their limit and the stack of compiled ones.
struct Context {
    context: *mut sys::pcre2_match_context_8,
    stack: *mut sys::pcre2_jit_stack_8,
    limit: u32,
}

impl Context {
    const NONE: Self = Self { context: null_mut(), stack: null_mut(), limit: 0 };
}

thread_local! {
    static CONTEXT: Cell<Context> = const { Cell::new(Context::NONE) };
    static JIT_STACK_MAX: Cell<usize> = const { Cell::new(JIT_STACK.1) };
}

/// PCRE2's own limit (`MATCH_LIMIT`).
const LIMIT_DEFAULT: u32 = 10_000_000;

fn context(limit: u32) -> *mut sys::pcre2_match_context_8 {
    let limit = if limit == 0 { LIMIT_DEFAULT } else { limit };
    let mut shared = CONTEXT.replace(Context::NONE);
    if shared.context.is_null() {
        // SAFETY: no preconditions; a null result of either is what PCRE2 takes for its defaults.
        unsafe {
            shared.context = sys::pcre2_match_context_create_8(null_mut());
            shared.stack = sys::pcre2_jit_stack_create_8(JIT_STACK.0, JIT_STACK_MAX.get(), null_mut());
            if !shared.context.is_null() {
                sys::pcre2_jit_stack_assign_8(shared.context, None, shared.stack.cast());
            }
        }
    }
    if shared.limit != limit && !shared.context.is_null() {
        // SAFETY: a live context of this thread.
        unsafe { sys::pcre2_set_match_limit_8(shared.context, limit) };
        shared.limit = limit;
    }
    let context = shared.context;
    CONTEXT.set(shared);
    context
}

/// Sets how large the stack of compiled matches may become, bytes (`ngx.re.opt("jit_stack_size", …)`).
pub fn set_jit_stack(bytes: usize) {
    JIT_STACK_MAX.set(bytes.max(JIT_STACK.0));
    let old = CONTEXT.replace(Context::NONE);
    // SAFETY: made by `context`, and no match is going on; PCRE2 accepts null for both.
    unsafe {
        if !old.context.is_null() {
            sys::pcre2_match_context_free_8(old.context);
        }
        if !old.stack.is_null() {
            sys::pcre2_jit_stack_free_8(old.stack);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, options: u32, dfa: bool, text: &[u8]) -> (Matched, Vec<Span>) {
        let mut code = Code::compile(pattern.as_bytes(), options, dfa).unwrap();
        let mut spans = Vec::new();
        let interpreted = code.find(text, 0, 0, &mut spans);
        if !dfa {
            code.jit();
            let mut again = Vec::new();
            assert_eq!((code.find(text, 0, 0, &mut again), &again), (interpreted, &spans));
        }
        (interpreted, spans)
    }

    #[test]
    fn groups_that_took_no_part() {
        let (matched, spans) = find("(a)|(b)(c)?", 0, false, b"xb");
        assert_eq!(matched, Matched::Groups(3));
        assert_eq!(spans, [Some((1, 2)), None, Some((1, 2)), None]);
        assert_eq!(find("a", 0, false, b"b").0, Matched::No);
    }

    #[test]
    fn the_longest_of_a_dfa() {
        assert_eq!(find("a|ab|abc", 0, true, b"abcd").1, [Some((0, 3))]);
        assert_eq!(find("(a)|ab|abc", 0, false, b"abcd").1, [Some((0, 1)), Some((0, 1))]);
    }

    #[test]
    fn text_that_is_not_utf8() {
        assert!(matches!(find("a", option::UTF, false, b"\xffa").0, Matched::Failed(_)));
        assert_eq!(find("a", option::UTF_UNCHECKED, false, b"\xffa").1, [Some((1, 2))]);
        assert_eq!(find(".", option::UTF, false, "ä".as_bytes()).1, [Some((0, 2))]);
    }

    #[test]
    fn a_pattern_that_tries_too_much_is_stopped() {
        let mut code = Code::compile(b"(a+)+$", 0, false).unwrap();
        let text = [&[b'a'; 40][..], b"b"].concat();
        assert!(matches!(code.find(&text, 0, 1000, &mut Vec::new()), Matched::Failed(_)));
        code.jit();
        assert!(matches!(code.find(&text, 0, 1000, &mut Vec::new()), Matched::Failed(_)));
        assert_eq!(code.find(b"aaa", 0, 0, &mut Vec::new()), Matched::Groups(2));
    }

    #[test]
    fn what_is_no_pattern() {
        let refused = Code::compile(b"a(b", 0, false).err().unwrap();
        assert_eq!((&*refused.message, refused.offset), ("missing closing parenthesis", 3));
        let names = Code::compile(b"(?<n>a)|(?<n>b)", option::DUPNAMES, false).unwrap().names.clone();
        assert_eq!(names, [(b"n"[..].into(), 1), (b"n"[..].into(), 2)]);
    }
}
