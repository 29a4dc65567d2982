//! `ngx_http_set_misc_module` of OpenResty's bundle: `set_*` instructions that escape, quote, encode, digest and draw lots,
//! and `upstream_list` of `ndk_http_module`, which one of them chooses from.
//!
//! They stand among the rewrite module's instructions and run in the order of the text. Each is one [`Function`] of a table,
//! which Lua's `ndk.set_var` calls by the same names.

mod digest;
mod encode;
mod lists;
mod pick;
mod quote;
mod time;

use std::cell::Cell;
use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Setting, Shape};

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::Level;
use crate::module::Module;
use crate::modules::rewrite::{self, Computed};
use crate::phase::Flow;
use crate::request::Request;
use crate::script::Template;
use crate::settings;

pub use lists::NDK;

/// The module.
pub const MODULE: SetMisc = SetMisc;

/// Settings of the functions.
static CONF: Slot<SetMiscConf> = Slot::new();

/// See the module's documentation.
pub struct SetMisc;

settings! {
    /// Settings of a location.
    pub struct SetMiscConf, SetMiscSettings {
        /// `set_base32_padding`.
        base32_padding: bool = true,
        /// `set_base32_alphabet`.
        base32_alphabet: Rc<[u8; 32]> = Rc::new(*b"0123456789abcdefghijklmnopqrstuv"),
    }
}

impl Conf for SetMiscConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        self.merge_settings(outer);
        Ok(())
    }
}

/// One call of a function.
pub struct Call<'a> {
    req: &'a mut Request,
    args: &'a [Vec<u8>],
    out: &'a mut Vec<u8>,
    /// The last number `set_rotate` gave.
    turn: &'a Cell<Option<i64>>,
}

impl Call<'_> {
    fn arg(&self, i: usize) -> &[u8] {
        self.args.get(i).map_or(&[], Vec::as_slice)
    }

    /// A number without sign; `None` for anything else.
    fn number(&self, i: usize) -> Option<i64> {
        std::str::from_utf8(self.arg(i))
            .ok()
            .and_then(conf::value::number::parse)
            .and_then(|n| n.try_into().ok())
    }
}

/// A function: appends its result to the call's output, or says in a message for the log why it cannot.
type Run = fn(&mut Call<'_>) -> std::result::Result<(), String>;

/// A function of this module.
pub struct Function {
    /// The name of its directive.
    pub name: &'static str,
    /// How many arguments it takes.
    pub args: usize,
    run: Run,
}

/// All functions that take the text of their arguments alone, in alphabetical order.
static FUNCTIONS: &[Function] = &[
    Function { name: "set_decode_base32", args: 1, run: encode::decode_base32 },
    Function { name: "set_decode_base64", args: 1, run: encode::decode_base64 },
    Function { name: "set_decode_base64url", args: 1, run: encode::decode_base64url },
    Function { name: "set_decode_hex", args: 1, run: encode::decode_hex },
    Function { name: "set_encode_base32", args: 1, run: encode::encode_base32 },
    Function { name: "set_encode_base64", args: 1, run: encode::encode_base64 },
    Function { name: "set_encode_base64url", args: 1, run: encode::encode_base64url },
    Function { name: "set_encode_hex", args: 1, run: encode::encode_hex },
    Function { name: "set_escape_uri", args: 1, run: quote::escape_uri },
    Function { name: "set_formatted_gmt_time", args: 1, run: time::formatted_gmt_time },
    Function { name: "set_formatted_local_time", args: 1, run: time::formatted_local_time },
    Function { name: "set_hashed_upstream", args: 2, run: lists::hashed_upstream },
    Function { name: "set_hmac_sha1", args: 2, run: digest::hmac_sha1 },
    Function { name: "set_hmac_sha256", args: 2, run: digest::hmac_sha256 },
    Function { name: "set_if_empty", args: 2, run: quote::if_empty },
    Function { name: "set_local_today", args: 0, run: time::local_today },
    Function { name: "set_md5", args: 1, run: digest::md5 },
    Function { name: "set_quote_json_str", args: 1, run: quote::json },
    Function { name: "set_quote_pgsql_str", args: 1, run: quote::pgsql },
    Function { name: "set_quote_sql_str", args: 1, run: quote::sql },
    Function { name: "set_random", args: 2, run: pick::random },
    Function { name: "set_rotate", args: 3, run: pick::rotate },
    Function { name: "set_secure_random_alphanum", args: 1, run: pick::secure_alphanum },
    Function { name: "set_secure_random_lcalpha", args: 1, run: pick::secure_lcalpha },
    Function { name: "set_sha1", args: 1, run: digest::sha1 },
    Function { name: "set_unescape_uri", args: 1, run: quote::unescape_uri },
];

/// The function a directive of this name calls.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by_key(&name, |function| function.name).ok().map(|at| &FUNCTIONS[at])
}

thread_local! {
    /// The turn of `ndk.set_var.set_rotate`, which has no instruction to keep one.
    static TURN: Cell<Option<i64>> = const { Cell::new(None) };
}

impl Function {
    /// Calls the function outside of the instructions (`ndk.set_var`). The error is what goes to the log.
    pub fn call(&self, req: &mut Request, args: &[Vec<u8>]) -> std::result::Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let made = TURN.with(|turn| (self.run)(&mut Call { req, args, out: &mut out, turn }));
        made.map(|()| out)
    }
}

/// An instruction.
struct Instruction {
    function: &'static Function,
    turn: Cell<Option<i64>>,
}

impl Computed for Instruction {
    fn compute(
        &self,
        req: &mut Request,
        args: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Flow> {
        let made = (self.function.run)(&mut Call { req, args, out, turn: &self.turn });
        made.map_err(|message| {
            req.log(Level::Error, format_args!("{message}"));
            Flow::Status(500)
        })
    }
}

/// Reads a `set_*` instruction: its variable, and its arguments. One that changes the variable itself may have none.
fn instruction(cx: &mut Builder, node: &Node) -> Result<()> {
    let name = node.name.text();
    let function = find(name).expect("the directives of this module are named after its functions");
    let takes_itself = matches!(name, "set_if_empty" | "set_rotate") || node.len() == 1 && function.args > 0;
    let first = usize::from(!takes_itself);
    let mut args = Vec::with_capacity(function.args);
    for i in first..node.len() {
        args.push(Template::parse(cx, node, node.arg(i).unwrap_or_default())?);
    }
    if name == "set_hashed_upstream" {
        lists::check(cx, node, &args[0])?;
    }
    let call = Rc::new(Instruction { function, turn: Cell::new(None) });
    rewrite::push_computed(cx, node, node.first(), args.into(), call)
}

/// Where instructions may stand.
const BLOCKS: Contexts =
    Contexts::SERVER.or(Contexts::LOCATION).or(Contexts::SERVER_IF).or(Contexts::LOCATION_IF);
const ALL_BLOCKS: Contexts = Contexts::HTTP.or(BLOCKS);

/// A row of the table of directives for a function.
const fn set(name: &'static str, arity: Arity, doc: &'static str) -> Directive<Builder> {
    Directive { name, contexts: BLOCKS, arity, shape: Shape::Simple, default: "", doc, apply: instruction }
}

/// In place, or from another text.
const ONE: Arity = Arity::Range(1, 2);

static DIRECTIVES: &[Directive<Builder>] = &[
    set("set_if_empty", Arity::Exactly(2), "Assigns a variable that is empty."),
    set("set_quote_sql_str", ONE, "Quotes a text by MySQL's rules."),
    set("set_quote_pgsql_str", ONE, "Quotes a text by PostgreSQL's rules."),
    set("set_quote_json_str", ONE, "Quotes a text by JSON's rules."),
    set("set_unescape_uri", ONE, "Unescapes a component of a URI."),
    set("set_escape_uri", ONE, "Escapes a text as a component of a URI."),
    set(
        "set_hashed_upstream",
        Arity::Exactly(3),
        "Chooses a name of an upstream_list by the hash of a text.",
    ),
    set("set_encode_base32", ONE, "Encodes a text in base32hex, or in the alphabet that was set."),
    set("set_decode_base32", ONE, "Decodes base32hex, or the alphabet that was set."),
    set("set_encode_base64", ONE, "Encodes a text in base64."),
    set("set_decode_base64", ONE, "Decodes base64."),
    set("set_encode_base64url", ONE, "Encodes a text in base64 for URLs."),
    set("set_decode_base64url", ONE, "Decodes base64 for URLs."),
    set("set_encode_hex", ONE, "Encodes a text in lower-case hexadecimal digits."),
    set("set_decode_hex", ONE, "Decodes hexadecimal digits."),
    set("set_sha1", ONE, "The SHA-1 digest of a text in hexadecimal digits."),
    set("set_md5", ONE, "The MD5 digest of a text in hexadecimal digits."),
    set("set_hmac_sha1", Arity::Exactly(3), "The HMAC-SHA1 of a text under a secret, as bytes."),
    set("set_hmac_sha256", Arity::Exactly(3), "The HMAC-SHA256 of a text under a secret, as bytes."),
    set("set_random", Arity::Exactly(3), "A random number between two numbers, both included."),
    set("set_secure_random_alphanum", Arity::Exactly(2), "So many random letters and digits, at most 64."),
    set("set_secure_random_lcalpha", Arity::Exactly(2), "So many random lower-case letters, at most 64."),
    set("set_rotate", Arity::Exactly(3), "The next number between two numbers, both included, in turn."),
    set("set_local_today", Arity::Exactly(1), "The date of today, local time, as 2000-12-31."),
    set("set_formatted_gmt_time", Arity::Exactly(2), "The time, GMT, in a format of strftime."),
    set("set_formatted_local_time", Arity::Exactly(2), "The time, local, in a format of strftime."),
    Directive {
        name: "set_base32_padding",
        contexts: ALL_BLOCKS,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "Whether set_encode_base32 pads its result with =.",
        apply: |cx, node| cx.conf(&CONF).set.base32_padding.set(node.flag()?),
    },
    Directive {
        name: "set_misc_base32_padding",
        contexts: ALL_BLOCKS,
        arity: Arity::Flag,
        shape: Shape::Simple,
        default: "on",
        doc: "The former name of set_base32_padding.",
        apply: |cx, node| cx.conf(&CONF).set.base32_padding.set(node.flag()?),
    },
    Directive {
        name: "set_base32_alphabet",
        contexts: ALL_BLOCKS,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "0123456789abcdefghijklmnopqrstuv",
        doc: "The 32 digits of set_encode_base32 and set_decode_base32.",
        apply: |cx, node| {
            let alphabet: [u8; 32] = node.bytes(0).try_into().map_err(|_| {
                let length = node.bytes(0).len();
                node.error(format!(
                    "\"set_base32_alphabet\" directive takes an alphabet of {length} bytes but 32 expected"
                ))
            })?;
            Setting::set(&mut cx.conf(&CONF).set.base32_alphabet, Rc::new(alphabet))
        },
    },
];

impl Module for SetMisc {
    fn name(&self) -> &'static str {
        "ngx_http_set_misc_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_and_has_its_directive() {
        for function in FUNCTIONS {
            assert!(
                std::ptr::eq(find(function.name).unwrap(), function),
                "{} is out of order",
                function.name
            );
            assert!(DIRECTIVES.iter().any(|directive| directive.name == function.name), "{}", function.name);
        }
        let instructions = DIRECTIVES.iter().filter(|directive| directive.default.is_empty());
        assert_eq!(instructions.count(), FUNCTIONS.len());
        assert!(find("set_nothing").is_none());
    }
}
