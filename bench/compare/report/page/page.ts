import type { ReportCharts } from '../charts/report-charts.ts'
import type { Chart } from '../charts/drawing.ts'
import { inlineSvg } from '../charts/drawing.ts'
import { themeCss } from '../charts/theme.ts'
import { counted } from '../words.ts'
import { conditions, howToRead } from '../conditions.ts'
import type { Remark } from '../remarks.ts'
import { remarks } from '../remarks.ts'
import type { Failure, ScenarioSummary, Summary } from '../summary.ts'
import { figuresTable, glanceTable, transfersTable } from './tables.ts'
import type { Html } from './html.ts'
import { html, trusted } from './html.ts'

/** One set of results with its charts; `prefix` keeps anchors apart when there are several. */
export type Chapter = { summary: Summary; charts: ReportCharts; prefix: string }

/** The report as one page that needs nothing else: no script, no network, no fonts. */
export function htmlReport(chapters: readonly Chapter[], css: string): string {
  const many = chapters.length > 1
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>Pull times, side by side</title>
        <style>
          ${trusted(themeCss(':root'))}
          ${trusted(css)}
        </style>
      </head>
      <body>
        <header>
          <h1>Pull times, side by side</h1>
          <p>
            How long nodes wait for an image, what the registry sees, and what it costs: with a mirror and without one.
          </p>
        </header>
        <main>
          ${chapters.map((one, index) => chapter(one, many ? `Results ${index + 1} of ${chapters.length}` : undefined))}
          <section id="reading">
            <h2>How to read this</h2>
            <dl>
              ${howToRead(chapters.map(({ summary }) => summary)).map(
                ({ term, text }) =>
                  html`<dt>${term}</dt>
                    <dd>${text}</dd>`,
              )}
            </dl>
          </section>
        </main>
        <footer>
          <p>
            Made from results.json, which has every pull and every transfer. The charts are in the folder charts as
            files.
          </p>
        </footer>
      </body>
    </html> `
  return page.html
}

function chapter({ summary, charts, prefix }: Chapter, name: string | undefined): Html {
  const { results, scenarios, failures, interleaved } = summary
  const facts = conditions(results).map(
    ([term, value]) =>
      html`<div class="${value.length > 160 ? 'wide' : ''}">
        <dt>${term}</dt>
        <dd>${value}</dd>
      </div>`,
  )
  const contenders = results.contenders.map(
    ({ title, version, description }) =>
      html`<li>
        <b>${title}</b
        >${version === undefined ? '' : ` ${version}`}${description === undefined ? '' : `: ${description}`}
      </li>`,
  )
  return html`${name === undefined ? undefined : html`<h2 class="chapter">${name}</h2>`}
    <section>
      <dl class="facts">${facts}</dl>
      <ul class="contenders">
        ${contenders}
      </ul>
      ${interleaved ? undefined : html`<p class="warning">Contenders did not take turns in these runs: ratios may show the hour and not the contender.</p>`}
    </section>
    <section id="${prefix}glance">
      <h2>At a glance</h2>
      <p>
        Time until all nodes have the image, as a multiple of what it takes without a mirror: the median of all pairs,
        their extremes, and in how many the contender was faster. Different images are put together here: the spread is
        over images too, and not noise alone. <a href="#reading">How to read this</a>
      </p>
      ${glanceTable(summary, prefix)} ${figures(charts.overview)}
    </section>
    ${
      failures.length === 0
        ? undefined
        : html`<section id="${prefix}failed">
            <h2>What failed</h2>
            ${failures.map(failure)}
          </section>`
    }
    ${scenarios.map((one) => scenario(one, summary, { charts, prefix }))}`
}

type Drawn = { charts: ReportCharts; prefix: string }

function scenario(summary: ScenarioSummary, { results }: Summary, { charts, prefix }: Drawn): Html {
  const { scenario, timeline } = summary
  const drawn = charts.scenarios.get(scenario.id)
  const shown = html`${figures(drawn?.figures ?? [])} ${remarks(summary, results.settings).map(remark)}
    <details>
      <summary>All figures (those with ≈ are noisy)</summary>
      ${figuresTable(summary)}
    </details>`
  const flow =
    timeline === undefined
      ? undefined
      : html`<h3>Who got what from whom</h3>
          <p>
            One run of “${timeline.variant}”. Each chart has a time axis of its own; the grey area is the pull, the bars
            are its layers.
          </p>
          ${figures(drawn?.timeline ?? [])}
          <details>
            <summary>These transfers as a table</summary>
            ${transfersTable(timeline, scenario.title)}
          </details>`
  return html`<section id="${prefix}${scenario.id}">
    <h2>${scenario.title}</h2>
    <p>${scenario.description}</p>
    ${shown} ${flow}
  </section>`
}

function remark({ title, text, items }: Remark): Html {
  const said = items.map(({ subject, text }) => html`<li><b>${subject}</b>: ${text}</li>`)
  return html`<div class="remark">
    <h3>${title}</h3>
    ${text === undefined ? undefined : html`<p>${text}</p>`}
    <ul>
      ${said}
    </ul>
  </div>`
}

function figures(charts: readonly Chart[]): Html {
  return html`<div class="charts">${charts.map((chart) => html`<figure>${trusted(inlineSvg(chart))}</figure>`)}</div>`
}

function failure({ contender, places, message, log }: Failure): Html {
  const where =
    places.length > 1
      ? html`<details>
          <summary>${counted(places.length, 'run')}</summary>
          <ul>
            ${places.map((place) => html`<li>${place}</li>`)}
          </ul>
        </details>`
      : html`<p>${places[0]}</p>`
  const said =
    log === undefined || log === ''
      ? undefined
      : html`<details>
          <summary>The end of its log</summary>
          ${logBlock(log)}
        </details>`
  return html`<article class="failure">
    <h3>${contender.title}</h3>
    <p><b>${message}</b></p>
    ${where}${said}
  </article>`
}

/** Not on lines of its own: in there, white space is text. */
function logBlock(log: string): Html {
  return html`<pre tabindex="0">${log}</pre>`
}
