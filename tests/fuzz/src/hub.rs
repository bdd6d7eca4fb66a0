//! What a HuggingFace-compatible Hub answers, and what it says of its next page.

use subgate::hub::parsers::{BatchAnswer, Instruction, Page, Transfer, next_link};

/// A list names no path that leaves the repository, and is read the same again in any layout of its JSON.
pub fn hub_tree(input: &[u8]) {
    let Ok(page) = Page::parse(input) else { return };
    for path in page.files.iter().map(|file| file.path()).chain(page.strange.iter().map(String::as_str)) {
        assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{path:?}");
        assert!(!path.contains('\0'));
    }
    // What is passed over in it need not be text.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    let again = serde_json::to_vec_pretty(&value).expect("JSON is written");
    assert_eq!(Page::parse(&again), Ok(page));
}

/// A target stands in the header between its brackets.
pub fn hub_link(input: &[u8]) {
    let Ok(header) = std::str::from_utf8(input) else { return };
    let Some(target) = next_link(header) else { return };
    assert!(!target.is_empty() && target.len() <= 8 * 1024);
    assert!(header.contains(&["<", target, ">"].concat()));
    // Links before it that lead elsewhere do not change it.
    let more = format!("</elsewhere>; rel=\"last\", {header}");
    assert_eq!(next_link(&more), Some(target));
}

/// An upload in parts covers its object, with a URL for each part and none beside.
pub fn hub_batch(input: &[u8]) {
    let Ok(answer) = BatchAnswer::parse(input) else { return };
    for (size, instruction) in answer.objects.values() {
        let Instruction::Upload { transfer: Transfer::Multipart { part_bytes, parts, .. }, .. } = instruction
        else {
            continue;
        };
        assert!(*part_bytes > 0 && (1..=10_000).contains(&parts.len()));
        let before_last = (parts.len() as u64 - 1).checked_mul(*part_bytes).expect("less than the size");
        assert!(before_last < *size && *size - before_last <= *part_bytes);
    }
}
