//! `ngx.re`: Perl-compatible patterns; and the module `ngx.re` with `split` and `opt`.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ::conf::{Node, Result as ConfResult};
use worker::build::{Builder, Conf, MergeCx, Slot};
use worker::config::Config;
use worker::log::Level;
use worker::settings;

use super::{Function, push_path};
use crate::ffi::call::Result;
use crate::ffi::pcre::{self, Code, Matched};
use crate::ffi::{Call, Error, Returns, State, Type, UserData};
use crate::function;
use crate::phase::Phases;
use crate::re::{self, Cache, Options, Piece, Spans};

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function!("ngx.re.match", Phases::ANY, "The first match of a pattern, as a table of its groups.", match_),
    function!("ngx.re.find", Phases::ANY, "Where the first match of a pattern begins and ends.", find),
    function!("ngx.re.gmatch", Phases::ANY, "An iterator over all matches of a pattern.", gmatch),
    function!("ngx.re.sub", Phases::ANY, "Replaces the first match of a pattern.", sub),
    function!("ngx.re.gsub", Phases::ANY, "Replaces all matches of a pattern.", gsub),
];

/// What the iterator of `gmatch` calls, and what the module `ngx.re` holds.
static NEXT: Function = function!("gmatch iterator", Phases::ANY, "The next match.", next);
static MODULE: &[Function] = &[
    function!("split", Phases::ANY, "The parts of a text between the matches of a pattern.", split),
    function!("opt", Phases::ANY, "Sets an option of the pattern engine.", opt),
];

/// Where the settings stand.
pub static CONF: Slot<ReConf> = Slot::new();

settings! {
    /// Settings of patterns.
    pub struct ReConf, ReSettings {
        /// `lua_regex_cache_max_entries`.
        cache_max: usize = 1024,
        /// `lua_regex_match_limit`; 0: PCRE2's own.
        match_limit: u32 = 0,
    }
}

impl Conf for ReConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> ConfResult<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// `lua_regex_cache_max_entries`.
pub(crate) fn cache_max_entries(cx: &mut Builder, node: &Node) -> ConfResult<()> {
    let max = usize::try_from(node.number()?).unwrap_or(usize::MAX);
    cx.conf(&CONF).set.cache_max.set(max)
}

/// `lua_regex_match_limit`.
pub(crate) fn match_limit(cx: &mut Builder, node: &Node) -> ConfResult<()> {
    let limit = node.in_bounds(node.number()?, 0, Some(u32::MAX.into()))?;
    cx.conf(&CONF).set.match_limit.set(limit as u32)
}

/// The patterns of this worker and their limits.
struct Engine {
    cache: RefCell<Cache>,
    cache_max: Cell<usize>,
    limit: Cell<u32>,
}

thread_local! {
    static ENGINE: Engine = Engine {
        cache: RefCell::default(),
        cache_max: const { Cell::new(1024) },
        limit: const { Cell::new(0) },
    };
}

/// Takes the settings over, and makes the module `ngx.re` known to `require`.
pub(crate) fn setup(lua: State<'_>, config: Option<&Config>) {
    if let Some(http) = config.and_then(|config| config.http.as_ref()) {
        let conf = http.get(&CONF);
        ENGINE.with(|engine| {
            engine.cache_max.set(conf.cache_max);
            engine.limit.set(conf.match_limit);
        });
    }
    push_path(lua, "package.loaded");
    lua.push_table(0, MODULE.len());
    for function in MODULE {
        lua.push_function(function.raw);
        lua.raw_set_field(-2, function.name);
    }
    lua.raw_set_field(-2, "ngx.re");
    lua.set_top(0);
}

/// A pattern ready to be matched.
struct Ready {
    code: Rc<Code>,
    options: Options,
}

/// What a function gives when its pattern cannot be compiled or matched.
enum Trouble {
    /// A result: the message.
    Message(Cow<'static, [u8]>),
    /// An error of Lua.
    Raise(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Raise(error)
    }
}

fn message(text: &'static str) -> Trouble {
    Trouble::Message(Cow::Borrowed(text.as_bytes()))
}

/// Argument `n` as `tostring` gives it.
fn text<'l>(call: &Call<'l>, n: i32) -> Cow<'l, [u8]> {
    if let Some(bytes) = call.lua.to_bytes(n) {
        return Cow::Borrowed(bytes);
    }
    Cow::Borrowed(match call.lua.type_of(n) {
        Type::Boolean if call.lua.to_bool(n) => &b"true"[..],
        Type::Boolean => b"false",
        Type::None | Type::Nil => b"nil",
        other => {
            let address = call.lua.to_pointer(n);
            return Cow::Owned(format!("{}: {address:p}", other.name()).into_bytes());
        }
    })
}

/// The pattern in argument `n` with the letters in argument `letters`, compiled now or earlier.
fn pattern(call: &Call<'_>, n: i32, letters: i32) -> std::result::Result<Ready, Trouble> {
    let pattern = call.bytes(n)?;
    let letters = if call.lua.is_none_or_nil(letters) { &b""[..] } else { call.bytes(letters)? };
    ENGINE.with(|engine| {
        if let Some((code, options)) = engine.cache.borrow_mut().get(pattern, letters) {
            return Ok(Ready { code, options });
        }
        let options = Options::parse(letters).map_err(|letter| {
            let letters = String::from_utf8_lossy(letters);
            let text = format!("unknown flag \"{}\" (flags \"{letters}\")", char::from(letter));
            Trouble::Raise(text.into())
        })?;
        let code = re::compile(pattern, options).map_err(|text| Trouble::Message(text.into()))?;
        let code = Rc::new(code);
        if options.once {
            engine.cache.borrow_mut().put(pattern, letters, &code, options, engine.cache_max.get());
        }
        Ok(Ready { code, options })
    })
}

impl Ready {
    /// Looks for a match from `start` on; how many groups may have taken part.
    fn find(
        &self,
        text: &[u8],
        start: usize,
        spans: &mut Spans,
    ) -> std::result::Result<Option<usize>, Trouble> {
        spans.clear();
        let limit = ENGINE.with(|engine| engine.limit.get());
        match self.code.find(text, start, limit, spans) {
            Matched::No => Ok(None),
            Matched::Groups(groups) => Ok(Some(groups)),
            Matched::Failed(number) => {
                Err(Trouble::Message(format!("pcre_exec() failed: {number}").into_bytes().into()))
            }
        }
    }

    /// Fills the table on top with the groups by number and by name; `false` for those that took no part.
    fn collect(&self, lua: State<'_>, text: &[u8], spans: &Spans) {
        let push = |group: usize| match spans.get(group).copied().flatten() {
            Some((from, to)) => lua.push_bytes(&text[from..to]),
            None => lua.push_bool(false),
        };
        for group in 0..spans.len() {
            push(group);
            lua.raw_set_index(-2, group as i32);
        }
        for (name, group) in &self.code.names {
            if !self.options.duplicate_names {
                push(*group);
                lua.raw_set_field(-2, name);
            } else if spans.get(*group).copied().flatten().is_some() {
                lua.raw_get_field(-1, name);
                if lua.type_of(-1) != Type::Table {
                    lua.pop(1);
                    lua.push_table(1, 0);
                    lua.push_value(-1);
                    lua.raw_set_field(-3, name);
                }
                push(*group);
                lua.raw_set_index(-2, lua.len(-2) as i32 + 1);
                lua.pop(1);
            }
        }
    }

    /// Pushes a table with the groups.
    fn push_groups(&self, lua: State<'_>, text: &[u8], spans: &Spans) {
        lua.push_table(spans.len(), self.code.names.len());
        self.collect(lua, text, spans);
    }
}

/// Ends a function: its results, or `nils` times nil and the message.
fn finish(call: &Call<'_>, nils: i32, done: std::result::Result<Returns, Trouble>) -> Result {
    match done {
        Ok(returns) => Ok(returns),
        Err(Trouble::Raise(error)) => Err(error),
        Err(Trouble::Message(text)) => {
            for _ in 0..nils {
                call.lua.push_nil();
            }
            call.lua.push_bytes(text);
            Ok(Returns::values(nils + 1))
        }
    }
}

/// Where matching begins: `pos` of the context table in argument `n`, from 1.
fn start(call: &Call<'_>, n: i32) -> Result<usize> {
    if call.lua.is_none_or_nil(n) {
        return Ok(0);
    }
    call.expect(n, Type::Table)?;
    call.lua.raw_get_field(n, "pos");
    let pos = call.lua.to_int(-1).unwrap_or(0);
    call.lua.pop(1);
    Ok(usize::try_from(pos.saturating_sub(1)).unwrap_or(0))
}

/// Notes in the context table where the next match would begin.
fn keep_position(call: &Call<'_>, n: i32, spans: &Spans) {
    if let (false, Some(Some((_, end)))) = (call.lua.is_none_or_nil(n), spans.first()) {
        call.lua.push_int(*end as i64 + 1);
        call.lua.raw_set_field(n, "pos");
    }
}

fn match_(call: &mut Call<'_>) -> Result {
    let done = first_match(call);
    finish(call, 1, done)
}

fn first_match(call: &Call<'_>) -> std::result::Result<Returns, Trouble> {
    let lua = call.lua;
    let subject = text(call, 1);
    let ready = pattern(call, 2, 3)?;
    let start = start(call, 4)?;
    let mut spans = Spans::new();
    if ready.find(&subject, start, &mut spans)?.is_none() {
        lua.push_nil();
        return Ok(Returns::ONE);
    }
    keep_position(call, 4, &spans);
    if lua.is_none_or_nil(5) {
        ready.push_groups(lua, &subject, &spans);
    } else {
        call.expect(5, Type::Table)?;
        lua.push_value(5);
        ready.collect(lua, &subject, &spans);
    }
    Ok(Returns::ONE)
}

fn find(call: &mut Call<'_>) -> Result {
    let done = first_place(call);
    finish(call, 2, done)
}

fn first_place(call: &Call<'_>) -> std::result::Result<Returns, Trouble> {
    let lua = call.lua;
    let subject = text(call, 1);
    let ready = pattern(call, 2, 3)?;
    let start = start(call, 4)?;
    let mut spans = Spans::new();
    if ready.find(&subject, start, &mut spans)?.is_none() {
        lua.push_nil();
        return Ok(Returns::ONE);
    }
    keep_position(call, 4, &spans);
    let nth = lua.to_int(5).map_or(0, |nth| usize::try_from(nth).unwrap_or(0));
    let Some(span) = spans.get(nth) else { return Err(message("nth out of bound")) };
    match span {
        Some((from, to)) => {
            lua.push_int(*from as i64 + 1);
            lua.push_int(*to as i64);
        }
        None => {
            lua.push_nil();
            lua.push_nil();
        }
    }
    Ok(Returns::values(2))
}

/// The state of an iterator; its text is an upvalue beside it.
struct Matches {
    ready: Ready,
    /// Where the next match may begin; `None`: there is none.
    position: Cell<Option<usize>>,
}

impl UserData for Matches {
    const NAME: &'static str = "ngx.re.gmatch";
}

fn gmatch(call: &mut Call<'_>) -> Result {
    let ready = match pattern(call, 2, 3) {
        Ok(ready) => ready,
        Err(trouble) => return finish(call, 1, Err(trouble)),
    };
    let lua = call.lua;
    lua.push_bytes(text(call, 1));
    lua.push_userdata(Matches { ready, position: Cell::new(Some(0)) });
    lua.push_closure(NEXT.raw, 2);
    Ok(Returns::ONE)
}

fn next(call: &mut Call<'_>) -> Result {
    let done = next_match(call);
    finish(call, 1, done)
}

fn next_match(call: &Call<'_>) -> std::result::Result<Returns, Trouble> {
    let lua = call.lua;
    let (Some(text), Some(iterator)) =
        (lua.to_bytes(State::upvalue(1)), lua.userdata::<Matches>(State::upvalue(2)))
    else {
        return Err(Trouble::Raise("bad iterator".into()));
    };
    let mut spans = Spans::new();
    let found = match iterator.position.take() {
        Some(start) => iterator.ready.find(text, start, &mut spans)?,
        None => None,
    };
    match (found, spans.first()) {
        (Some(_), Some(Some((from, to)))) => {
            // an empty match would be found again and again
            let next = if from == to { to + 1 } else { *to };
            iterator.position.set((next <= text.len()).then_some(next));
            iterator.ready.push_groups(lua, text, &spans);
        }
        _ => lua.push_nil(),
    }
    Ok(Returns::ONE)
}

fn sub(call: &mut Call<'_>) -> Result {
    let done = replace(call, false);
    finish(call, 2, done)
}

fn gsub(call: &mut Call<'_>) -> Result {
    let done = replace(call, true);
    finish(call, 2, done)
}

/// Replaces the first match or all; pushes the text and how many there were.
fn replace(call: &mut Call<'_>, all: bool) -> std::result::Result<Returns, Trouble> {
    let lua = call.lua;
    let subject = text(call, 1);
    let ready = pattern(call, 2, 4)?;
    let by_function = lua.type_of(3) == Type::Function;
    let template = if by_function { Cow::Borrowed(&b""[..]) } else { text(call, 3) };
    let pieces = match re::parse_replacement(&template) {
        Ok(pieces) => pieces,
        Err(bad) => {
            super::log::say(call, Level::Error, &bad.0);
            return Err(message("failed to compile the replacement template"));
        }
    };
    let mut spans = Spans::new();
    let (mut out, mut copied, mut count) = (Vec::new(), 0, 0u32);
    let mut start = Some(0);
    while let Some(from) = start
        && ready.find(&subject, from, &mut spans)?.is_some()
        && let Some(Some((begin, end))) = spans.first().copied()
    {
        count += 1;
        // a lookbehind may have begun the match in what was replaced already
        let begin = begin.max(copied);
        out.extend_from_slice(&subject[copied..begin]);
        if by_function {
            ready.call(lua, &subject, &spans, &mut out)?;
        } else {
            for piece in &pieces {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    Piece::Group(group) => {
                        if let Some(Some((from, to))) = spans.get(*group) {
                            out.extend_from_slice(&subject[*from..*to]);
                        }
                    }
                }
            }
        }
        copied = end.max(copied);
        let next = if begin == end { end + 1 } else { end };
        start = (all && next <= subject.len()).then_some(next);
    }
    if count == 0 {
        lua.push_bytes(&subject);
    } else {
        out.extend_from_slice(&subject[copied..]);
        lua.push_bytes(&out);
    }
    lua.push_int(count);
    Ok(Returns::values(2))
}

impl Ready {
    /// Calls the function in argument 3 with the groups and appends what it gives.
    fn call(
        &self,
        lua: State<'_>,
        text: &[u8],
        spans: &Spans,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Trouble> {
        let top = lua.top();
        lua.push_value(3);
        self.push_groups(lua, text, spans);
        if lua.protected_call(1, 1).is_err() {
            return Err(Trouble::Raise(Error::Value));
        }
        super::output::append(lua, -1, out);
        lua.set_top(top);
        Ok(())
    }
}

/// Where a text is cut: how `split` walks.
struct Splitter<'s> {
    ready: &'s Ready,
    text: &'s [u8],
    /// Where the next match may begin.
    position: usize,
    spans: Spans,
}

impl Splitter<'_> {
    /// The next match: where it begins and ends, from 1, and its first group.
    #[allow(clippy::type_complexity)]
    fn step(&mut self) -> std::result::Result<Option<(usize, usize, Option<(usize, usize)>)>, Trouble> {
        if self.position > self.text.len()
            || self.ready.find(self.text, self.position, &mut self.spans)?.is_none()
        {
            return Ok(None);
        }
        let Some(Some((from, to))) = self.spans.first().copied() else { return Ok(None) };
        self.position = if from == to { to + 1 } else { to };
        Ok(Some((from + 1, to + 1, self.spans.get(1).copied().flatten())))
    }
}

fn split(call: &mut Call<'_>) -> Result {
    let done = parts(call);
    finish(call, 1, done)
}

/// `split(subject, pattern, letters?, context?, max?, table?)`.
fn parts(call: &Call<'_>) -> std::result::Result<Returns, Trouble> {
    let lua = call.lua;
    // what is made below must not be taken for an argument that was left out
    lua.set_top(6);
    let subject = text(call, 1);
    let position = if lua.is_none_or_nil(4) {
        1
    } else {
        call.expect(4, Type::Table)?;
        lua.raw_get_field(4, "pos");
        let pos = lua.to_int(-1).unwrap_or(1);
        lua.pop(1);
        usize::try_from(pos).unwrap_or(0).max(1)
    };
    let max = lua.to_int(5).unwrap_or(0).max(0);
    if lua.is_none_or_nil(6) {
        lua.push_table(4, 0);
    } else if lua.type_of(6) == Type::Table {
        lua.push_value(6);
    } else {
        return Err(Trouble::Raise("res is not a table".into()));
    }
    if position > subject.len() {
        lua.push_nil();
        lua.raw_set_index(-2, 1);
        return Ok(Returns::ONE);
    }
    let ready = pattern(call, 2, 3)?;
    let mut splitter =
        Splitter { ready: &ready, text: &subject, position: position - 1, spans: Spans::new() };
    let (mut begin, mut filled, mut count, mut last_empty) = (position, 0i32, 1, None);
    let mut add = |part: &[u8]| {
        filled += 1;
        lua.push_bytes(part);
        lua.raw_set_index(-2, filled);
    };
    let mut parts: Vec<bool> = Vec::new();
    while max == 0 || count < max {
        let Some((from, to, group)) = splitter.step()? else { break };
        if let Some(empty) = last_empty {
            begin = empty;
        }
        if from == to {
            last_empty = Some(from);
        }
        if from > begin || last_empty.is_none() {
            count += 1;
            add(&subject[begin - 1..from - 1]);
            parts.push(from > begin);
            if let Some((from, to)) = group {
                add(&subject[from..to]);
                parts.push(to > from);
            }
            begin = to;
            if begin > subject.len() {
                break;
            }
        }
    }
    if max == 0 && begin > subject.len() {
        // empty parts at the end are none
        while parts.last() == Some(&false) {
            parts.pop();
            lua.push_nil();
            lua.raw_set_index(-2, parts.len() as i32 + 1);
        }
    } else {
        add(&subject[begin - 1..]);
        parts.push(true);
    }
    lua.push_nil();
    lua.raw_set_index(-2, parts.len() as i32 + 1);
    if !lua.is_none_or_nil(4) {
        lua.push_int(splitter.position as i64);
        lua.raw_set_field(4, "pos");
    }
    Ok(Returns::ONE)
}

fn opt(call: &mut Call<'_>) -> Result {
    if call.bytes(1)? != b"jit_stack_size" {
        return Err("unrecognized option name".into());
    }
    if ENGINE.with(|engine| !engine.cache.borrow().is_empty()) {
        return Err(
            "changing jit stack size is not allowed when some regexs have already been compiled and cached"
                .into(),
        );
    }
    let size = call.integer(2)?;
    pcre::set_jit_stack(usize::try_from(size).unwrap_or(0).min(1 << 28));
    Ok(Returns::NONE)
}
