import { type Check, error, ok, unknown } from '../check.ts'
import { whyUnread } from '../unread-config.ts'
import { hasContainerd, storeOf } from '../node.ts'

const NO_LAYERS = 'containerd throws layers away once they are unpacked: this node cannot share them'

/** Whether layers stay in containerd's content store. */
export const unpackedLayersCheck: Check = {
  id: 'unpacked-layers',
  title: 'layers are kept',
  isDecisive: true,
  async run(node) {
    if (!(await hasContainerd(node)) || (await storeOf(node)) !== 'containerd') return undefined
    const [look, file] = [await node.containerd(), await node.containerdConfig()]
    const { containerdConfig } = node.settings
    const fix = `set discard_unpacked_layers = false in ${containerdConfig}, and restart containerd: systemctl restart containerd`
    const running = look.state === 'answers' && look.cri.state === 'shown' ? look.cri.discardsLayers : undefined
    const written = file.state === 'read' ? file.discardsLayers : undefined
    if (running === true && written === false)
      return error(
        `${NO_LAYERS}; the file does not say so any more`,
        'restart containerd: systemctl restart containerd',
      )
    if (running === true || (running === undefined && written === true)) return error(NO_LAYERS, fix)
    if (written === true)
      return error('after its next start containerd will throw layers away once they are unpacked', fix)
    if (running === undefined && (file.state === 'denied' || file.state === 'hidden')) {
      const { says, fix: how } = whyUnread(file)
      return unknown(`whether containerd keeps layers is not known: ${says}`, how)
    }
    // In a container the file may be another one than the one that containerd has read.
    if (running === undefined && file.state === 'missing' && node.isContained)
      return unknown(`whether containerd keeps layers is not known: there is no ${file.file}`)
    if (running === undefined && file.state === 'invalid')
      return unknown(`whether containerd keeps layers is not known: ${file.file} is not valid`)
    return ok('containerd keeps layers after it has unpacked them')
  },
}
