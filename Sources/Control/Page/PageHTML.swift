// Written by tools/embed-page from assets/page.html; change that one.

enum PageHTML {
  static let text = ##"""
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>Sluice</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/page.css">
<script src="/page/page.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the figures</a>
<header class="top">
  <h1><img src="/page/icon.svg" alt="" width="28" height="28"><span>Sluice</span></h1>
  <p class="facts" id="facts"></p>
  <p class="live" role="status"><span class="dot" id="dot"></span>
    <span id="live">connecting</span></p>
  <button type="button" id="pause" aria-pressed="false">Pause</button>
</header>
<div id="notes" role="alert"></div>
<noscript><p class="note bad">This page draws its figures with a script of its own.
The same figures as text are at <a href="/metrics">/metrics</a>.</p></noscript>
<main id="main" tabindex="-1">
  <section aria-label="Now">
    <dl class="tiles" id="tiles"></dl>
  </section>
  <section class="charts" aria-label="Over time">
    <figure class="card">
      <figcaption><h2>Throughput</h2><p class="key" id="throughput-key"></p></figcaption>
      <canvas id="throughput" tabindex="0" role="img" aria-label="Throughput over time"></canvas>
    </figure>
    <figure class="card">
      <figcaption><h2>Connections</h2><p class="key" id="connections-key"></p></figcaption>
      <canvas id="connections" tabindex="0" role="img" aria-label="Connections over time"></canvas>
    </figure>
  </section>
  <section class="card" aria-labelledby="listeners-title">
    <h2 id="listeners-title">Listeners</h2>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="listeners-title">
      <table id="listeners"></table></div>
  </section>
  <section class="card" aria-labelledby="servers-title">
    <h2 id="servers-title">Backends and servers</h2>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="servers-title">
      <table id="servers"></table></div>
  </section>
  <div class="pair">
    <section class="card" aria-labelledby="clients-title">
      <h2 id="clients-title">Top clients</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="clients-title">
        <table id="clients"></table></div>
    </section>
    <section class="card" aria-labelledby="rejections-title">
      <h2 id="rejections-title">Turned away</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="rejections-title">
        <table id="rejections"></table></div>
    </section>
  </div>
  <div class="pair">
    <section class="card" aria-labelledby="reloads-title">
      <h2 id="reloads-title">Reloads</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="reloads-title">
        <table id="reloads"></table></div>
    </section>
    <section class="card" aria-labelledby="drains-title">
      <h2 id="drains-title">Drains and changes at run time</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="drains-title">
        <table id="drains"></table></div>
    </section>
  </div>
</main>
<footer><p>Read only. The same figures for machines: <a href="/metrics">/metrics</a>.
Keys: <kbd>P</kbd> pauses, arrows move along a chart.</p></footer>
</body>
</html>

"""##
}
