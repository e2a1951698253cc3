/** Pages as the web has them, for what reads pages: a manual, an encyclopedia's article, and a shop's list of cards. */
export const MANUAL = `<!doctype html><html lang=en><head><title>Configure &middot; Widget manual</title>
<style>.nav{color:red} .sr-only{position:absolute;width:1px;height:1px;overflow:hidden}</style><script>document.write("")</script></head>
<body><a class="sr-only" href="#content">Skip to content</a>
<header><a href="/">Widget</a><nav><ul><li><a href="/docs">Docs</a></li><li><a href="/blog">Blog</a></li></ul></nav></header>
<div class=layout><aside class=sidebar><ul><li><a href="/docs/install">Install</a></li></ul></aside>
<main id=content><h1>Configure <a class=anchor href="#configure">#</a></h1>
<p>Settings live in <code>widget.toml</code>, which <strong>must</strong> be <em>UTF-8</em>. See <a href="../install?x=1&amp;y=2">how to install</a>.</p>
<div class="language-bash highlight"><pre><code class="language-bash">$ widget init
$ widget run --port 80   # needs root
</code></pre><button>Copy</button></div>
<h2>Keys</h2>
<table><thead><tr><th>Key</th><th>Type</th><th>Meaning</th></tr></thead>
<tbody><tr><td><code>port</code></td><td>int | none</td><td>Where it listens</td></tr><tr><td><code>log_level</code></td><td>string</td><td>How much is said</td></tr></tbody></table>
<h2>Steps</h2>
<ol start=3><li>Stop it.<ul><li>gently</li><li>or not</li></ul></li><li><p>Edit <kbd>widget.toml</kbd>.</p><pre>a = 1
b = 2</pre></li></ol>
<blockquote><p>Do not panic.</p><p>Really.</p></blockquote>
<p hidden>Never seen</p><p style="display:none">Nor this</p><p aria-hidden=true>Nor that</p>
<p>1. is not a list, * nor this, &lt;b&gt; no tag, snake_case stays.<br>A second line.</p>
<img src="/img/port.png" alt="A port" width=100 height=60><img src="/pixel.gif" width=1 height=1>
<dl><dt>Port</dt><dd>A number.</dd></dl></main></div>
<footer>All rights reserved. <a href="/privacy">Privacy</a></footer><script>window.late = 1</script></body></html>`;

export const CARDS = `<!doctype html><title>Lamps</title><body><div role=banner>Free shipping</div><div id=app></div><script>
const shop = document.createElement("div"); shop.innerHTML = \`<a class=card href="/lamps/1"><h3>Desk lamp</h3><p>Warm light</p><span>12 EUR</span></a>
<a class=card href="/lamps/2" style="display:block"><h3>Floor lamp</h3><p>Cold light</p></a>\`; app.append(shop);
class Price extends HTMLElement { connectedCallback() { this.attachShadow({ mode: "open" }).innerHTML = "<p>From <b>9 EUR</b>, <slot></slot></p>" } }
customElements.define("shop-price", Price);
app.insertAdjacentHTML("beforeend", "<shop-price>with tax</shop-price>");
</script><form name=body><input name=childNodes><input name=querySelectorAll></form><img name=querySelector></body>`;
