//! Writes a tree back as text that parses to the same tree.
//!
//! For showing a configuration with its includes in place, and for tests. Words are quoted when they were quoted
//! or need it. One limit is not checked: a word that is longer than [`crate::lex::BUFFER_BYTES`] when written
//! with escapes cannot be read back.

use crate::ast::{Block, Node, Word};

/// The text of `nodes`, four blanks per level.
pub fn to_bytes(nodes: &[Node]) -> Vec<u8> {
    let mut out = Vec::new();
    put_nodes(&mut out, nodes, 0);
    out
}

fn put_nodes(out: &mut Vec<u8>, nodes: &[Node], depth: usize) {
    for node in nodes {
        indent(out, depth);
        put_word(out, &node.name);
        for word in &node.args {
            out.push(b' ');
            put_word(out, word);
        }
        match &node.block {
            None => out.push(b';'),
            Some(Block::Raw(text)) => {
                out.extend_from_slice(b" {");
                out.extend_from_slice(text);
                out.push(b'}');
            }
            Some(Block::Directives(children)) => {
                out.extend_from_slice(b" {\n");
                put_nodes(out, children, depth + 1);
                indent(out, depth);
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}

fn indent(out: &mut Vec<u8>, depth: usize) {
    out.extend(std::iter::repeat_n(b' ', depth * 4));
}

fn put_word(out: &mut Vec<u8>, word: &Word) {
    let special = |byte: &u8| b" \t\r\n;{}\"'\\#$".contains(byte);
    if !word.quoted && !word.text.is_empty() && !word.text.iter().any(special) {
        out.extend_from_slice(&word.text);
        return;
    }
    out.push(b'"');
    for &byte in &word.text {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
