//! What a certificate says, as nginx's variables print it.

use std::fmt::Write as _;

use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::time::ASN1Time;

/// A certificate read for its facts.
pub struct Certificate<'a> {
    der: &'a [u8],
    parsed: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None`: it is damaged.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Self { der, parsed })
    }

    /// The subject as RFC 2253 has it: `CN=name,O=organisation`, the most particular first.
    pub fn subject(&self) -> String {
        rfc2253(self.parsed.subject())
    }

    /// The issuer as RFC 2253 has it.
    pub fn issuer(&self) -> String {
        rfc2253(self.parsed.issuer())
    }

    /// The subject in OpenSSL's old form: `/O=organisation/CN=name`.
    pub fn subject_legacy(&self) -> String {
        legacy(self.parsed.subject())
    }

    /// The issuer in OpenSSL's old form.
    pub fn issuer_legacy(&self) -> String {
        legacy(self.parsed.issuer())
    }

    /// The serial number, hexadecimal.
    pub fn serial(&self) -> String {
        let text = hex(self.parsed.raw_serial(), true);
        let short = text.trim_start_matches("00");
        if short.is_empty() { "00".into() } else { short.into() }
    }

    /// The SHA-1 of the certificate, hexadecimal.
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, self.der);
        hex(digest.as_ref(), false)
    }

    /// When it begins to be valid: `Nov 25 22:41:03 2026 GMT`.
    pub fn valid_from(&self) -> String {
        date(self.parsed.validity().not_before)
    }

    /// When it ends to be valid.
    pub fn valid_to(&self) -> String {
        date(self.parsed.validity().not_after)
    }

    /// Whole days until it ends to be valid; 0 when that has passed.
    pub fn days_left(&self, now_s: i64) -> i64 {
        ((self.parsed.validity().not_after.timestamp() - now_s) / 86_400).max(0)
    }

    /// The certificate as PEM text.
    pub fn pem(&self) -> String {
        let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64(self.der);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
        text
    }

    /// Whether the certificate is for `host` (RFC 6125; a common name counts only where no alternative name is a host, as
    /// OpenSSL has it).
    pub fn is_for(&self, host: &str) -> bool {
        use x509_parser::extensions::GeneralName;
        let names = self.parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.clone()).unwrap_or_default();
        if let Ok(ip) = host.parse::<std::net::IpAddr>() {
            let octets = match ip {
                std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
                std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            // OpenSSL compares the text with names as well
            return names.iter().any(|name| match name {
                GeneralName::IPAddress(bytes) => *bytes == octets,
                GeneralName::DNSName(name) => name.eq_ignore_ascii_case(host),
                _ => false,
            }) || (!has_hosts(&names) && self.common_name_is(host));
        }
        let by_name =
            |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(name) if matches_host(name, host));
        names.iter().any(by_name) || (!has_hosts(&names) && self.common_name_is(host))
    }

    fn common_name_is(&self, host: &str) -> bool {
        let mut names = self.parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.any(|name| matches_host(name, host))
    }

    /// The addresses of OCSP responders it names.
    pub fn ocsp_responders(&self) -> Vec<String> {
        use x509_parser::extensions::{GeneralName, ParsedExtension};
        const OCSP: &str = "1.3.6.1.5.5.7.48.1";
        let mut found = Vec::new();
        for extension in self.parsed.extensions() {
            let ParsedExtension::AuthorityInfoAccess(info) = extension.parsed_extension() else { continue };
            for access in &info.accessdescs {
                if let GeneralName::URI(uri) = access.access_location
                    && access.access_method.to_id_string() == OCSP
                {
                    found.push(uri.to_owned());
                }
            }
        }
        found
    }
}

fn has_hosts(names: &[x509_parser::extensions::GeneralName<'_>]) -> bool {
    names.iter().any(|name| matches!(name, x509_parser::extensions::GeneralName::DNSName(_)))
}

/// Whether the pattern, which may begin with `*.`, is for the host: a star stands for one label.
fn matches_host(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(label, tail)| {
            !label.is_empty() && rest.contains('.') && tail.eq_ignore_ascii_case(rest)
        }),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// Attribute types by their short names.
static SHORT: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("2.5.4.97", "organizationIdentifier"),
];

fn short(oid: &str) -> &str {
    SHORT.iter().find(|(known, _)| *known == oid).map_or(oid, |(_, name)| name)
}

/// The bytes of a value as text; OpenSSL's RFC 2253 form escapes what is not ASCII byte by byte.
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for rdn in name.iter_rdn() {
        let mut joined = String::new();
        for (at, attribute) in rdn.iter().enumerate() {
            if at > 0 {
                joined.push('+');
            }
            joined.push_str(short(&attribute.attr_type().to_id_string()));
            joined.push('=');
            escape(attribute.as_str().map_or(attribute.as_slice(), str::as_bytes), &mut joined);
        }
        parts.push(joined);
    }
    parts.reverse();
    parts.join(",")
}

fn escape(value: &[u8], out: &mut String) {
    for (at, &byte) in value.iter().enumerate() {
        let edge = at == 0 || at + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(byte.into());
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if edge => out.push_str("\\ "),
            0x20..=0x7e => out.push(byte.into()),
            _ => {
                // writing to a string does not fail
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

fn legacy(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for rdn in name.iter_rdn() {
        for attribute in rdn.iter() {
            out.push('/');
            out.push_str(short(&attribute.attr_type().to_id_string()));
            out.push('=');
            let value = attribute.as_str().map_or(attribute.as_slice(), str::as_bytes);
            for &byte in value {
                if (0x20..0x7f).contains(&byte) {
                    out.push(byte.into());
                } else {
                    let _ = write!(out, "\\x{byte:02X}");
                }
            }
        }
    }
    out
}

/// `Nov  5 08:41:03 2026 GMT`: ASN1_TIME_print's form.
fn date(time: ASN1Time) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = time.to_datetime();
    let month = MONTHS[usize::from(u8::from(time.month())) - 1];
    let (hour, minute, second) = time.to_hms();
    format!("{month} {:2} {hour:02}:{minute:02}:{second:02} {} GMT", time.day(), time.year())
}

fn hex(bytes: &[u8], upper: bool) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        assert!(matches_host("*.example.com", "a.example.com"));
        assert!(matches_host("Example.com", "example.COM"));
        for (pattern, host) in [
            ("*.example.com", "example.com"),
            ("*.example.com", "a.b.example.com"),
            ("*.com", "example.com"),
            ("a*.example.com", "ab.example.com"),
            ("*.example.com", ".example.com"),
        ] {
            assert!(!matches_host(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn values_are_escaped() {
        let mut out = String::new();
        escape(" a,b\"\u{e4} ".as_bytes(), &mut out);
        assert_eq!(out, "\\ a\\,b\\\"\\C3\\A4\\ ");
    }
}
