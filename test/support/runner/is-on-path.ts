import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** Whether a directory of PATH has a program of this name. */
export async function isOnPath(program: string): Promise<boolean> {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '')
  const found = await Promise.allSettled(
    directories.map((directory) => access(join(directory, program), constants.X_OK)),
  )
  return found.some(({ status }) => status === 'fulfilled')
}
