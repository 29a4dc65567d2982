//! Properties of lexer, parser and value readers over random input.

use std::path::Path;

use conf::ast::{Block, Node, Span, Word};
use conf::lex::{Lexer, Token};
use conf::value::{addr, cidr, number, size, time, url};
use conf::{Options, Sources, parse, print};
use proptest::prelude::*;

fn parse_bytes(text: Vec<u8>) -> conf::Result<Vec<Node>> {
    let main = Path::new("/n.conf");
    let mut files = Sources::new();
    files.add_file(main, text);
    let options = Options {
        prefix: Path::new("/"),
        conf_prefix: Path::new("/"),
        globals: None,
        raw_block: &|name| name.ends_with("_by_lua_block"),
    };
    parse(main, &files, &options).map(|(nodes, _)| nodes)
}

/// Bytes that mean something to the lexer, more often than chance would have them.
fn conf_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "a",
        "b1",
        " ",
        "\n",
        ";",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "#",
        "$",
        "${",
        ")",
        "include ",
        "map ",
        "types ",
        "x_by_lua_block ",
        "[[",
        "]]",
        "--",
        "[=[",
        "]=]",
        "\u{e4}",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

fn word() -> impl Strategy<Value = Word> {
    let text = prop_oneof![
        "[a-z]{1,8}".prop_map(String::into_bytes),
        "[ -~\t\r\n]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    (text, any::<bool>()).prop_map(|(text, quoted)| Word::new(text, quoted, 0))
}

fn make_node(name: Word, args: Vec<Word>, block: Option<Block>) -> Node {
    Node { name, args, block, span: Span::new("", 0), end_line: 0 }
}

/// A name that neither includes files nor has a block of its own kind.
fn name() -> impl Strategy<Value = Word> {
    word().prop_filter("a plain name", |word| {
        let special = ["include", "charset_map", "geo", "map", "split_clients", "types"];
        !special.contains(&word.text()) && !word.text().ends_with("_by_lua_block")
    })
}

fn lua() -> impl Strategy<Value = Node> {
    let pieces = prop::sample::select(vec![
        "",
        " x = 1 ",
        "{ {} }",
        "\"}\"",
        "'{'",
        "[[ } ]]",
        "[=[ ]] } ]=]",
        "-- }\n",
        "--[[ } ]]",
        "\n",
        "a[b[1]]",
    ]);
    (prop::collection::vec(pieces, 0..6), prop::collection::vec(word(), 0..3)).prop_map(|(pieces, args)| {
        let name = Word::new(b"set_by_lua_block".to_vec(), false, 0);
        make_node(name, args, Some(Block::Raw(pieces.join(" ").into_bytes().into())))
    })
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let simple =
        (name(), prop::collection::vec(word(), 0..4)).prop_map(|(name, args)| make_node(name, args, None));
    let leaf = prop_oneof![4 => simple, 1 => lua()];
    let tree = leaf.prop_recursive(4, 32, 4, |inner| {
        (name(), prop::collection::vec(word(), 0..3), prop::collection::vec(inner, 0..4))
            .prop_map(|(name, args, children)| make_node(name, args, Some(Block::Directives(children))))
    });
    prop::collection::vec(tree, 0..5)
}

proptest! {
    #[test]
    fn lexer_takes_any_bytes(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut lexer = Lexer::for_file(&text);
        while let Ok(token) = lexer.token() {
            if token == Token::End {
                break;
            }
        }
    }

    #[test]
    fn parser_takes_any_text(text in conf_like()) {
        let lines = text.iter().filter(|&&byte| byte == b'\n').count() as u32 + 1;
        match parse_bytes(text) {
            Ok(nodes) => prop_assert!(nodes.iter().all(|node| (1..=lines).contains(&node.end_line))),
            Err(error) => {
                prop_assert!(!error.message().is_empty());
                let line = error.span().map_or(0, |span| span.line);
                prop_assert!(line <= lines, "{error}");
            }
        }
    }

    #[test]
    fn long_texts_reach_the_buffer_limits(text in conf_like(), fill in 4000..9000_usize, at in any::<prop::sample::Index>()) {
        let mut text = text;
        let at = at.index(text.len() + 1);
        text.splice(at..at, std::iter::repeat_n(b'x', fill));
        let _ = parse_bytes(text);
    }

    #[test]
    fn what_was_parsed_prints_and_parses_to_itself(text in conf_like()) {
        if let Ok(nodes) = parse_bytes(text) {
            prop_assert_eq!(parse_bytes(print::to_bytes(&nodes)).unwrap(), nodes);
        }
    }

    #[test]
    fn any_tree_prints_and_parses_to_itself(nodes in nodes()) {
        let text = print::to_bytes(&nodes);
        prop_assert_eq!(parse_bytes(text).unwrap(), nodes);
    }

    #[test]
    fn records_take_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut framed = b"sources1".to_vec();
        framed.extend(&bytes);
        let _ = (Sources::from_bytes(&bytes), Sources::from_bytes(&framed));
    }

    #[test]
    fn records_round_trip(files in prop::collection::btree_map("[a-z/]{1,8}", prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
        let mut sources = Sources::new();
        for (path, text) in files {
            sources.add_file(Path::new(&path), text);
        }
        prop_assert_eq!(Sources::from_bytes(&sources.to_bytes()).unwrap(), sources);
    }

    #[test]
    fn values_take_any_text(text in "[0-9a-zA-Z:./\\[\\]*? -]{0,24}|\\PC{0,12}") {
        let _ = (number::parse(&text), number::parse_fixed(&text, 3), size::parse_size(&text));
        let _ = (size::parse_offset(&text), time::parse_ms(&text), time::parse_sec(&text));
        let _ = (addr::parse_ip(&text), addr::parse_ip_port(&text), cidr::Cidr::parse(&text));
        for (listen, uri_part) in [(true, false), (false, true), (false, false)] {
            let _ = url::parse(&text, url::Options { default_port: 1, listen, uri_part, no_resolve: true });
        }
    }

    #[test]
    fn printed_addresses_read_back(words in any::<[u16; 8]>(), mask in any::<u8>(), v4 in any::<u32>()) {
        let mut words = words;
        for (i, word) in words.iter_mut().enumerate() {
            if mask & (1 << i) != 0 {
                *word = 0;
            }
        }
        for ip in [std::net::IpAddr::from(words), std::net::IpAddr::V4(v4.into())] {
            if v4 != u32::MAX {
                prop_assert_eq!(addr::parse_ip(&addr::DisplayIp(ip).to_string()), Some(ip));
            }
        }
    }

    #[test]
    fn patterns_take_any_text(pattern in "[a\\[\\]!^:*?\\\\.-]{0,10}", name in "[a.:\\[-]{0,10}") {
        let _ = conf::glob::matches(pattern.as_bytes(), name.as_bytes());
    }
}
