import { baseline } from '../../results.ts'
import { columnsFor, verdict } from '../figures.ts'
import type { ScenarioSummary, Summary, Timeline } from '../summary.ts'
import { bytes, seconds } from '../words.ts'
import type { Html } from './html.ts'
import { html } from './html.ts'

/** More transfers than this are not listed in the page; results.json has them all. */
const maxTransfers = 400

/** Scenario by contender: what each came to. */
export function glanceTable({ results, scenarios }: Summary, prefix: string): Html {
  const rows = scenarios.map(({ scenario, overall }) => {
    const base = overall.find(({ contender }) => contender.id === baseline)
    const cells = overall.map((cell) => {
      const { main, details, tone } = verdict(cell, base, scenario.id)
      return html`<td class="${tone}"><b>${main}</b>${details.map((detail) => html`<small>${detail}</small>`)}</td>`
    })
    return html`<tr>
      <th scope="row"><a href="#${prefix}${scenario.id}">${scenario.title}</a></th>
      ${cells}
    </tr>`
  })
  const heads = results.contenders.map(({ title }) => html`<th scope="col">${title}</th>`)
  return scrolling(
    'At a glance',
    html`<table class="glance">
      <thead>
        <tr>
          <th scope="col">Scenario</th>
          ${heads}
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>`,
  )
}

/** All figures of a scenario: what is behind its charts. */
export function figuresTable({ scenario, variants }: ScenarioSummary): Html {
  const columns = columnsFor(variants.flatMap(({ cells }) => cells))
  const rows = variants.flatMap(({ variant, cells }) =>
    cells.map((cell, index) => {
      const head = index === 0 ? [html`<th scope="rowgroup" rowspan="${cells.length}">${variant}</th>`] : []
      const values = columns.map(({ show }) => html`<td>${show(cell) ?? '–'}</td>`)
      return html`<tr>
        ${head}
        <th scope="row">${cell.contender.title}</th>
        ${values}
      </tr>`
    }),
  )
  const heads = columns.map(({ title }) => html`<th scope="col">${title}</th>`)
  return scrolling(
    `All figures: ${scenario.title}`,
    html`<table>
      <thead>
        <tr>
          <th scope="col">Image</th>
          <th scope="col">Contender</th>
          ${heads}
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>`,
  )
}

/** The transfers that the timelines draw. */
export function transfersTable({ runs }: Timeline, title: string): Html {
  const all = runs.flatMap(({ contender, run }) =>
    (run.transfers ?? []).toSorted((a, b) => a.at - b.at).map((transfer) => ({ contender, transfer })),
  )
  const rows = all.slice(0, maxTransfers).map(({ contender, transfer }) => {
    const { at, seconds: took, node, digest, source, from, bytes: size } = transfer
    const cells = [node, from ?? source, short(digest), bytes(size), seconds(at), seconds(took)]
    return html`<tr>
      <th scope="row">${contender.title}</th>
      ${cells.map((cell) => html`<td>${cell}</td>`)}
    </tr>`
  })
  const heads = ['Contender', 'Node', 'Got from', 'Layer', 'Bytes', 'After', 'Took'].map(
    (head) => html`<th scope="col">${head}</th>`,
  )
  const more =
    all.length > maxTransfers ? html`<p>${all.length - maxTransfers} more are in results.json.</p>` : undefined
  const table = html`<table>
    <thead>
      <tr>
        ${heads}
      </tr>
    </thead>
    <tbody>
      ${rows}
    </tbody>
  </table>`
  return html`${scrolling(`Transfers: ${title}`, table)}${more}`
}

function short(digest: string): string {
  return digest.replace(/^sha256:/u, '').slice(0, 12)
}

/** A wide table scrolls by itself, with the keyboard too, so that the page never does sideways. */
function scrolling(label: string, table: Html): Html {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${table}</div>`
}
