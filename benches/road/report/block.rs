//! The part of a document that a run writes: between two comments that name it, everything else is somebody
//! else's.

/// The document with `content` as its block of this name; at its end, where it has none yet.
pub(crate) fn replaced(document: &str, name: &str, content: &str) -> Result<String, String> {
    let (begin, end) = markers(name);
    let whole = format!("{begin}\n\n{}\n\n{end}\n", content.trim());
    if ![&begin, &end].iter().any(|marker| document.contains(marker.as_str())) {
        let gap = if document.is_empty() { "" } else { "\n" };
        return Ok(format!("{document}{gap}{whole}"));
    }
    let (before, after) = around(document, name)?;
    Ok(format!("{before}{whole}{after}"))
}

/// What stands before and behind the block.
fn around<'a>(document: &'a str, name: &str) -> Result<(&'a str, &'a str), String> {
    let (begin, end) = markers(name);
    let wrong = |what: &str| format!("{what}: the document must hold {begin:?} and then {end:?}, each once");
    let (before, rest) = document.split_once(&begin).ok_or_else(|| wrong("no beginning"))?;
    let (inner, after) = rest.split_once(&end).ok_or_else(|| wrong("no end"))?;
    if [inner, after].iter().any(|text| text.contains(&begin) || text.contains(&end)) {
        return Err(wrong("more than one block"));
    }
    Ok((before, after.strip_prefix('\n').unwrap_or(after)))
}

fn markers(name: &str) -> (String, String) {
    (
        format!("<!-- measured: {name}; written by the bench, do not edit -->"),
        format!("<!-- end of measured: {name} -->"),
    )
}
