export const onRedis = (_title: string, _body: (t: any, server: { url: string }) => Promise<void>): void => {}
