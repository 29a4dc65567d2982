//! The directives of the echo module.

use std::rc::Rc;

use conf::{Arity, Contexts, Directive, Node, Result, Shape};

use super::CONF;
use super::program::{Body, Call, Command, Line};
use crate::build::Builder;
use crate::script::Template;

const LOCATION_IF: Contexts = Contexts::LOCATION.or(Contexts::LOCATION_IF);

/// A row of the table for a command.
const fn command(
    name: &'static str,
    arity: Arity,
    doc: &'static str,
    apply: fn(&mut Builder, &Node) -> Result<()>,
) -> Directive<Builder> {
    Directive { name, contexts: LOCATION_IF, arity, shape: Shape::Simple, default: "", doc, apply }
}

pub(super) static DIRECTIVES: &[Directive<Builder>] = &[
    command(
        "echo",
        Arity::Any,
        "Sends its arguments with spaces between them and a line break (not with -n).",
        |cx, node| {
            let line = Line::parse(cx, node)?;
            push(cx, Command::Echo(line))
        },
    ),
    command("echo_duplicate", Arity::Exactly(2), "Sends a text so many times.", |cx, node| {
        let (count, text) = two(cx, node)?;
        push(cx, Command::Duplicate { count, text })
    }),
    command("echo_flush", Arity::Exactly(0), "Sends what is held back.", |cx, _| push(cx, Command::Flush)),
    command("echo_sleep", Arity::Exactly(1), "Waits for so many seconds.", |cx, node| {
        let seconds = Template::parse(cx, node, node.first())?;
        push(cx, Command::Sleep(seconds))
    }),
    command(
        "echo_blocking_sleep",
        Arity::Exactly(1),
        "The same: the worker serves others meanwhile.",
        |cx, node| {
            let seconds = Template::parse(cx, node, node.first())?;
            push(cx, Command::Sleep(seconds))
        },
    ),
    command("echo_reset_timer", Arity::Exactly(0), "Makes $echo_timer_elapsed begin anew.", |cx, _| {
        push(cx, Command::ResetTimer)
    }),
    command("echo_read_request_body", Arity::Exactly(0), "Reads the body of the request.", |cx, _| {
        push(cx, Command::ReadBody)
    }),
    command(
        "echo_request_body",
        Arity::Exactly(0),
        "Sends the body of the request, if it was read.",
        |cx, _| push(cx, Command::RequestBody),
    ),
    command("echo_location", Arity::Range(1, 2), "Sends the response of another location.", |cx, node| {
        location(cx, node, true)
    }),
    command(
        "echo_location_async",
        Arity::Range(1, 2),
        "The same; what follows does not wait for it.",
        |cx, node| location(cx, node, false),
    ),
    command(
        "echo_subrequest",
        Arity::AtLeast(2),
        "Sends the response of another location to a method; -q: arguments, -b: body, -f: file with the body.",
        |cx, node| subrequest(cx, node, true),
    ),
    command(
        "echo_subrequest_async",
        Arity::AtLeast(2),
        "The same; what follows does not wait for it.",
        |cx, node| subrequest(cx, node, false),
    ),
    command("echo_exec", Arity::Range(1, 2), "Lets another location answer.", |cx, node| {
        let (target, args) = two(cx, node)?;
        push(cx, Command::Exec { target, args })
    }),
    command(
        "echo_foreach_split",
        Arity::Range(2, 3),
        "Runs the commands up to echo_end for every piece of a text; $echo_it is the piece.",
        |cx, node| {
            let first = usize::from(node.first() == "--");
            let word = |i: usize| node.arg(first + i).unwrap_or_default();
            if first + 2 != node.len() {
                return Err(node.invalid_arity());
            }
            let delimiter = Template::parse(cx, node, word(0))?;
            let text = Template::parse(cx, node, word(1))?;
            push(cx, Command::Foreach { delimiter, text, behind: 0 })
        },
    ),
    command("echo_end", Arity::Exactly(0), "Ends the commands of echo_foreach_split.", |cx, _| {
        push(cx, Command::End { begin: 0 })
    }),
    Directive {
        name: "echo_status",
        contexts: LOCATION_IF,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "200",
        doc: "The status of what the commands send.",
        apply: |cx, node| {
            let status = node.in_bounds(node.number()?, 100, Some(999))?;
            cx.conf(&CONF).status.set(u16::try_from(status).expect("checked to be below 1000"))
        },
    },
    command(
        "echo_before_body",
        Arity::Any,
        "Sends its arguments before the body of any response.",
        |cx, node| {
            let line = Line::parse(cx, node)?;
            cx.conf(&CONF).before.push(Rc::new(line));
            Ok(())
        },
    ),
    command(
        "echo_after_body",
        Arity::Any,
        "Sends its arguments behind the body of any response.",
        |cx, node| {
            let line = Line::parse(cx, node)?;
            cx.conf(&CONF).after.push(Rc::new(line));
            Ok(())
        },
    ),
];

fn push(cx: &mut Builder, command: Command) -> Result<()> {
    cx.conf(&CONF).commands.push(command);
    Ok(())
}

/// The first argument and the second, if there is one.
fn two(cx: &mut Builder, node: &Node) -> Result<(Template, Template)> {
    Ok((Template::parse(cx, node, node.first())?, Template::parse(cx, node, node.second())?))
}

fn location(cx: &mut Builder, node: &Node, wait: bool) -> Result<()> {
    let (uri, args) = two(cx, node)?;
    let directive = if wait { "echo_location" } else { "echo_location_async" };
    push(cx, Command::Call(Box::new(Call { directive, method: None, uri, args, body: Body::None, wait })))
}

fn subrequest(cx: &mut Builder, node: &Node, wait: bool) -> Result<()> {
    let method = Some(Template::parse(cx, node, node.first())?);
    let uri = Template::parse(cx, node, node.second())?;
    let directive = if wait { "echo_subrequest" } else { "echo_subrequest_async" };
    let mut call = Call { directive, method, uri, args: Template::default(), body: Body::None, wait };
    let mut i = 2;
    while let Some(option) = node.arg(i) {
        let Some(value) = node.arg(i + 1) else {
            return Err(node.error(format!("{directive} option \"{option}\" takes an argument")));
        };
        let value = Template::parse(cx, node, value)?;
        match option {
            "-q" => call.args = value,
            "-b" => call.body = Body::Text(value),
            "-f" => call.body = Body::File { name: value, prefix: cx.paths.prefix.clone() },
            _ => return Err(node.error(format!("unknown option for {directive}: {option}"))),
        }
        i += 2;
    }
    push(cx, Command::Call(Box::new(call)))
}
