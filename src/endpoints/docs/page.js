"use strict";
(() => {
  const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
  // A schema may refer to itself: below this depth only its name is shown.
  const DEPTH_MAX = 6;
  const main = document.getElementById("api");
  const endpoints = document.querySelector("nav .endpoints");
  const links = endpoints.querySelector(".links");
  let api = {};

  // Text of the description is inserted as text, so that none of it becomes markup.
  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(
      ...children.flat().filter((child) => child !== undefined && child !== null && child !== ""),
    );
    return element;
  };

  const safeLink = (target) => (/^(https?:\/\/|\/|#)/.test(target) ? target : "#");

  const inline = (text) => {
    const nodes = [];
    const pattern = /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)\s]+)\)/g;
    let last = 0;
    for (const match of text.matchAll(pattern)) {
      nodes.push(text.slice(last, match.index));
      if (match[1] !== undefined) nodes.push(make("code", {}, match[1]));
      else if (match[2] !== undefined) nodes.push(make("strong", {}, match[2]));
      else nodes.push(make("a", { href: safeLink(match[4]), rel: "noreferrer" }, match[3]));
      last = match.index + match[0].length;
    }
    nodes.push(text.slice(last));
    return nodes;
  };

  // The part of Markdown that the descriptions use: paragraphs, lists, headings, tables, code.
  const markdown = (text) => {
    const blocks = [];
    const lines = String(text || "").split("\n");
    const cells = (line) =>
      line
        .trim()
        .replace(/^\||\|$/g, "")
        .split("|")
        .map((cell) => cell.trim());
    let at = 0;
    const take = (test) => {
      const taken = [];
      while (at < lines.length && test(lines[at])) taken.push(lines[at++]);
      return taken;
    };
    while (at < lines.length) {
      const line = lines[at];
      if (/^\s*$/.test(line)) at += 1;
      else if (/^\s*```/.test(line)) {
        at += 1;
        const code = take((next) => !/^\s*```/.test(next));
        at += 1;
        blocks.push(make("pre", {}, make("code", {}, code.join("\n"))));
      } else if (/^#{1,6}\s/.test(line)) {
        at += 1;
        blocks.push(make("h3", {}, inline(line.replace(/^#+\s+/, ""))));
      } else if (/^\s*([-*]|\d+\.)\s/.test(line)) {
        const items = [];
        const ordered = /^\s*\d+\./.test(line);
        for (const next of take((other) => /^\s*([-*]|\d+\.)\s/.test(other) || /^\s+\S/.test(other))) {
          if (/^\s*([-*]|\d+\.)\s/.test(next)) items.push(next.replace(/^\s*([-*]|\d+\.)\s+/, ""));
          else items[items.length - 1] += " " + next.trim();
        }
        blocks.push(
          make(
            ordered ? "ol" : "ul",
            {},
            items.map((item) => make("li", {}, inline(item))),
          ),
        );
      } else if (/^\s*\|/.test(line) && /^\s*\|[\s:|-]+$/.test(lines[at + 1] || "")) {
        const rows = take((next) => /^\s*\|/.test(next));
        const row = (kind, text) =>
          make(
            "tr",
            {},
            cells(text).map((cell) => make(kind, {}, inline(cell))),
          );
        blocks.push(
          make(
            "div",
            { class: "table" },
            make(
              "table",
              {},
              make("thead", {}, row("th", rows[0])),
              make(
                "tbody",
                {},
                rows.slice(2).map((next) => row("td", next)),
              ),
            ),
          ),
        );
      } else {
        const words = take((next) => !/^\s*$/.test(next) && !/^\s*(```|[-*]\s|\||#{1,6}\s)/.test(next));
        // A line that looks like the beginning of another block, and is not one, is text.
        if (words.length === 0) words.push(lines[at++]);
        blocks.push(make("p", {}, inline(words.join(" "))));
      }
    }
    return blocks;
  };

  const resolve = (value) => {
    let found = value;
    for (let hops = 0; found && typeof found.$ref === "string" && hops < 20; hops += 1) {
      if (!found.$ref.startsWith("#/")) return {};
      const parts = found.$ref
        .slice(2)
        .split("/")
        .map((part) => decodeURIComponent(part).replace(/~1/g, "/").replace(/~0/g, "~"));
      found = parts.reduce(
        (place, part) => (place === undefined || place === null ? undefined : place[part]),
        api,
      );
    }
    return found || {};
  };

  const nameOf = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : undefined);

  const typeOf = (schema) => {
    const name = nameOf(schema);
    const s = resolve(schema);
    if (schema === true) return "anything";
    const several = s.oneOf || s.anyOf;
    if (several) return several.map(typeOf).join(" or ");
    if (s.const !== undefined) return JSON.stringify(s.const);
    let type = Array.isArray(s.type) ? s.type.join(" or ") : s.type;
    if (type === undefined)
      type = s.properties || s.additionalProperties ? "object" : s.enum ? typeof s.enum[0] : "anything";
    if (type === "array") return "array of " + typeOf(s.items || true);
    if (type === "object" && s.additionalProperties && !s.properties)
      return "map of " + typeOf(s.additionalProperties);
    return name && type === "object" ? name : s.format ? type + " (" + s.format + ")" : type;
  };

  const factsOf = (schema) => {
    const s = resolve(schema);
    const facts = [];
    if (s.enum) facts.push("one of " + s.enum.map((value) => JSON.stringify(value)).join(", "));
    if (s.default !== undefined) facts.push("default " + JSON.stringify(s.default));
    for (const [key, word] of [
      ["minimum", "at least"],
      ["maximum", "at most"],
      ["exclusiveMinimum", "more than"],
      ["exclusiveMaximum", "less than"],
    ]) {
      if (s[key] !== undefined) facts.push(word + " " + s[key]);
    }
    const count = (least, most, what) => {
      if (least !== undefined && least === most) facts.push(least + " " + what);
      else if (least !== undefined && most !== undefined) facts.push(least + " to " + most + " " + what);
      else if (least !== undefined) facts.push("at least " + least + " " + what);
      else if (most !== undefined) facts.push("at most " + most + " " + what);
    };
    count(s.minLength, s.maxLength, "characters");
    count(s.minItems, s.maxItems, "items");
    if (s.pattern) facts.push("pattern " + s.pattern);
    return facts.join("; ");
  };

  const row = (name, schema, required, depth, description) => {
    const s = resolve(schema);
    const facts = factsOf(schema);
    return make(
      "tr",
      {},
      make(
        "td",
        {},
        make("span", { class: "indent" }, "    ".repeat(depth)),
        make("code", { class: s.deprecated ? "deprecated" : undefined }, name),
        required ? make("span", { class: "required" }, "required") : "",
      ),
      make("td", {}, typeOf(schema)),
      make(
        "td",
        {},
        markdown(description || (schema && schema.description) || s.description),
        facts ? make("div", { class: "facts" }, facts) : "",
      ),
    );
  };

  // The rows of a schema's properties, depth first.
  const rows = (schema, depth, trail) => {
    const s = resolve(schema);
    if (depth > DEPTH_MAX || trail.includes(s)) return [];
    const further = trail.concat([s]);
    const found = [];
    for (const part of s.allOf || []) found.push(...rows(part, depth, further));
    for (const part of s.oneOf || s.anyOf || []) found.push(...rows(part, depth, further));
    for (const [name, property] of Object.entries(s.properties || {})) {
      found.push(row(name, property, (s.required || []).includes(name), depth));
      found.push(...rows(property, depth + 1, further));
    }
    if (s.items) found.push(...rows(s.items, depth, further));
    if (s.additionalProperties && typeof s.additionalProperties === "object") {
      found.push(row("{name}", s.additionalProperties, false, depth));
      found.push(...rows(s.additionalProperties, depth + 1, further));
    }
    return found;
  };

  const table = (heads, body) =>
    make(
      "div",
      { class: "table" },
      make(
        "table",
        { class: "fields" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            heads.map((head) => make("th", { scope: "col" }, head)),
          ),
        ),
        make("tbody", {}, body),
      ),
    );

  const shown = (value) =>
    make("pre", {}, make("code", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2)));

  const examplesOf = (media) => {
    const found = Object.entries(media.examples || {}).map(([name, example]) => {
      const e = resolve(example);
      return [e.summary || name, e.value];
    });
    if (media.example !== undefined) found.push(["Example", media.example]);
    const s = resolve(media.schema);
    if (found.length === 0 && s.example !== undefined) found.push(["Example", s.example]);
    if (found.length === 0) for (const value of s.examples || []) found.push(["Example", value]);
    return found.filter(([, value]) => value !== undefined);
  };

  const content = (holder, open) =>
    Object.entries(holder.content || {}).flatMap(([type, media]) => {
      const fields = media.schema ? rows(media.schema, 0, []) : [];
      const examples = examplesOf(media);
      const schema =
        fields.length > 0
          ? make(
              "details",
              { class: "more", open },
              make("summary", {}, "Fields of " + (nameOf(media.schema) || typeOf(media.schema))),
              table(["Name", "Type", "Meaning"], fields),
            )
          : "";
      return [
        make("p", { class: "facts" }, make("code", {}, type)),
        schema,
        ...examples.map(([name, value]) =>
          make(
            "details",
            { class: "more", open: open || examples.length === 1 },
            make("summary", {}, name),
            shown(value),
          ),
        ),
      ];
    });

  const answer = ([status, reference]) => {
    const response = resolve(reference);
    const kind = /^[123]/.test(status) ? "good" : /^4/.test(status) ? "bad" : "broken";
    const headers = Object.entries(response.headers || {}).map(([name, header]) =>
      row(name, resolve(header).schema || {}, false, 0, resolve(header).description),
    );
    return make(
      "section",
      { class: "answer " + kind },
      make(
        "div",
        {},
        make("span", { class: "status" }, status),
        ...inline(String(response.description || "").split("\n")[0]),
      ),
      ...markdown(
        String(response.description || "")
          .split("\n")
          .slice(1)
          .join("\n"),
      ),
      headers.length ? table(["Header", "Type", "Meaning"], headers) : "",
      ...content(response, kind === "good"),
    );
  };

  // How a request may be signed: each word leads to what it means.
  const signing = (op) => {
    const alternatives = (op.security || api.security || []).filter((each) => Object.keys(each).length > 0);
    if (alternatives.length === 0) return make("p", { class: "signed" }, "Not signed.");
    const words = alternatives.flatMap((each, index) => [
      index > 0 ? " or " : "",
      ...Object.keys(each).map((name) =>
        make("a", { href: "#security-" + name }, make("code", {}, name)),
      ),
    ]);
    return make("p", { class: "signed" }, "Signed by ", ...words);
  };

  // What makes a request which operation of S3, where one entry stands for several.
  const variants = (operations) =>
    make(
      "div",
      { class: "table" },
      make(
        "table",
        { class: "fields" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            ["Operation", "What makes it this one", "What it does"].map((head) =>
              make("th", { scope: "col" }, head),
            ),
          ),
        ),
        make(
          "tbody",
          {},
          operations.map((each) => {
            const marks = (each.required || []).map((name) => make("code", {}, "?" + name));
            if (each.header) marks.push(make("code", {}, each.header));
            const further = (each.optional || []).flatMap((name) => [make("code", {}, name), " "]);
            return make(
              "tr",
              {},
              make("td", {}, make("strong", {}, each.name)),
              make("td", {}, marks.length ? marks.flatMap((mark) => [mark, " "]) : "nothing more"),
              make(
                "td",
                {},
                make("p", {}, inline(each.summary || "")),
                further.length ? make("div", { class: "facts" }, "also ", ...further) : "",
              ),
            );
          }),
        ),
      ),
    );

  const schemes = () => {
    const described = Object.entries((api.components || {}).securitySchemes || {});
    if (described.length === 0) return "";
    return make(
      "section",
      { class: "group" },
      make("h3", { class: "tag", id: "security" }, "How requests are signed"),
      ...described.map(([name, reference]) => {
        const scheme = resolve(reference);
        const place =
          scheme.type === "apiKey"
            ? "in the " + scheme.in + (scheme.in === "query" ? " name " : " ") + scheme.name
            : scheme.scheme || scheme.type;
        return make(
          "div",
          { class: "card scheme", id: "security-" + name },
          make("p", {}, make("strong", {}, name), " ", make("span", { class: "facts" }, place)),
          ...markdown(scheme.description),
        );
      }),
    );
  };

  const idOf = (method, path) => (method + path).replace(/[^A-Za-z0-9]+/g, "-");

  const operation = (method, path, op, shared) => {
    const parameters = (shared || []).concat(op.parameters || []).map(resolve);
    const places = [...new Set(parameters.map((parameter) => parameter.in))];
    const body = op.requestBody ? resolve(op.requestBody) : undefined;
    return make(
      "details",
      {
        class: "operation",
        id: idOf(method, path),
        "data-search": (method + " " + path + " " + (op.summary || "")).toLowerCase(),
      },
      make(
        "summary",
        {},
        make("span", { class: "method " + method }, method),
        make("span", { class: "path" + (op.deprecated ? " deprecated" : "") }, path),
        make("span", { class: "summary" }, op.summary || ""),
      ),
      make(
        "div",
        { class: "body" },
        signing(op),
        ...markdown(op.description),
        op["x-s3-operations"] ? variants(op["x-s3-operations"]) : "",
        ...places.flatMap((place) => [
          make("h3", {}, "Parameters in " + place),
          table(
            ["Name", "Type", "Meaning"],
            parameters
              .filter((parameter) => parameter.in === place)
              .map((parameter) =>
                row(parameter.name, parameter.schema || {}, parameter.required, 0, parameter.description),
              ),
          ),
        ]),
        body ? make("h3", {}, "Request") : "",
        ...(body ? markdown(body.description) : []),
        ...(body ? content(body, true) : []),
        make("h3", {}, "Responses"),
        ...Object.entries(op.responses || {}).map(answer),
      ),
    );
  };

  const render = () => {
    const info = api.info || {};
    document.title = (info.title || "API") + " API";
    const operations = Object.entries(api.paths || {}).flatMap(([path, item]) => {
      const all = resolve(item);
      return METHODS.filter((method) => all[method]).map((method) => ({
        method,
        path,
        op: all[method],
        shared: all.parameters,
      }));
    });
    const described = new Map((api.tags || []).map((tag) => [tag.name, tag.description]));
    const groups = new Map([...described.keys()].map((name) => [name, []]));
    for (const each of operations) {
      const tag = (each.op.tags || ["Endpoints"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(each);
    }
    const sections = [];
    for (const [tag, members] of groups) {
      if (members.length === 0 && !described.get(tag)) continue;
      sections.push(
        make(
          "section",
          { class: "group" },
          make("h3", { class: "tag", id: "tag-" + idOf("", tag) }, tag),
          ...markdown(described.get(tag)),
          ...members.map(({ method, path, op, shared }) => operation(method, path, op, shared)),
        ),
      );
      links.append(
        make("h3", {}, make("a", { href: "#tag-" + idOf("", tag) }, tag)),
        ...members.map(({ method, path, op }) =>
          make(
            "a",
            {
              href: "#" + idOf(method, path),
              "data-search": (method + " " + path + " " + (op.summary || "")).toLowerCase(),
            },
            make("span", { class: "method " + method }, method),
            make("span", {}, path),
          ),
        ),
      );
    }
    main.replaceChildren(
      make(
        "p",
        { class: "facts" },
        (info.title || "API") + (info.version ? " · Version " + info.version : ""),
        " · OpenAPI " + (api.openapi || ""),
      ),
      ...sections,
      schemes(),
      make("section", { class: "prose" }, ...markdown(info.description)),
      operations.length ? "" : make("p", { class: "notice" }, "The description names no endpoints."),
    );
    endpoints.hidden = false;
  };

  const openTarget = () => {
    const target =
      location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    if (target && target.tagName === "DETAILS") target.open = true;
    if (target) target.scrollIntoView();
  };

  const filter = () => {
    const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const element of document.querySelectorAll("[data-search]")) {
      element.hidden = !words.every((word) => element.dataset.search.includes(word));
    }
    for (const group of main.querySelectorAll(".group")) {
      group.hidden = words.length > 0 && !group.querySelector(".operation:not([hidden])");
    }
  };

  const fail = (why) =>
    main.replaceChildren(
      make(
        "p",
        { class: "notice", role: "alert" },
        "The description at ",
        make("a", { href: "/openapi.json" }, "/openapi.json"),
        " cannot be shown: " + why,
      ),
    );

  // Where the page may not write to the clipboard, the text is selected, so that a keystroke copies it.
  const copy = async (source, button) => {
    const said = document.getElementById("said");
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = said.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = said.textContent = "Selected";
    }
    setTimeout(() => {
      button.textContent = "Copy";
      said.textContent = "";
    }, 2000);
  };

  // The buttons are made here: where no script runs there is none that does nothing.
  for (const source of document.querySelectorAll("[data-copy]")) {
    const name = source.dataset.language
      ? "Copy the example"
      : "Copy " + source.closest("div").querySelector("dt").textContent;
    const button = make("button", { type: "button", class: "copy", "aria-label": name }, "Copy");
    const copied = source.querySelector("code") || source;
    button.addEventListener("click", () => copy(copied, button));
    if (source.tagName === "PRE") {
      const block = make("div", { class: "code" });
      source.replaceWith(block);
      block.append(make("span", { class: "language" }, source.dataset.language), button, source);
    } else source.after(button);
  }

  document.getElementById("filter").addEventListener("input", filter);
  addEventListener("hashchange", openTarget);
  fetch("/openapi.json", { headers: { accept: "application/json" } })
    .then((response) => {
      if (!response.ok) throw new Error("the server answered " + response.status + ".");
      return response.json().catch(() => {
        throw new Error("it is not JSON.");
      });
    })
    .then((description) => {
      if (!description || typeof description !== "object" || !description.openapi)
        throw new Error("it is not an OpenAPI document.");
      api = description;
      render();
      openTarget();
    })
    .catch((error) =>
      fail(
        error instanceof TypeError
          ? "the server cannot be reached, or the document is damaged."
          : error.message,
      ),
    );
})();
