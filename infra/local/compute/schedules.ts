import { randomUUID } from "node:crypto";
import { Alarm } from "./alarm.ts";
import { readCron } from "./cron.ts";
import type { Invocations } from "./invocations.ts";
import type { Place } from "./replies.ts";
import type { TriggerRecord, Triggers } from "./triggers.ts";
import { readAnswer } from "./upstream.ts";

/** What the engine needs of a queue. A message that is neither acknowledged nor released comes again when its time is up. */
export interface QueueSource {
  receive(
    queue: string,
    options: { max: number; visibilityMs: number },
  ): Promise<{ id: string; receipt: string; body: string; attempts: number }[]>;
  acknowledge(queue: string, receipt: string): Promise<boolean>;
  release(queue: string, receipt: string, options?: { delayMs?: number }): Promise<boolean>;
}

interface SchedulesSpec {
  triggers: Triggers;
  invocations: Invocations;
  queue: QueueSource | undefined;
  pollMs: number;
  /** What a function's run may take, by which a message stays hidden from others. */
  timeoutMsOf: (functionName: string) => number;
  place: Place;
  now: () => number;
  log: { event(name: string, facts: Record<string, unknown>): void };
}

interface Plan {
  trigger: TriggerRecord;
  dueAt: number;
  busy: Promise<void> | undefined;
  fire: () => Promise<void>;
  after: (at: number) => number;
}

const ANSWER_BYTES = 1024 * 1024;

/** Fires timers and asks queues. One trigger does one thing at a time: what is due meanwhile waits for its end. */
export class Schedules {
  readonly #spec: SchedulesSpec;
  readonly #alarm: Alarm;
  readonly #stop = new AbortController();
  #plans = new Map<string, Plan>();

  constructor(spec: SchedulesSpec) {
    this.#spec = spec;
    this.#alarm = new Alarm(spec.now, () => this.#fireDue());
    spec.triggers.onChange(() => this.#plan());
    this.#plan();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#alarm.stop();
    this.#stop.abort();
    await Promise.all([...this.#plans.values()].map(async ({ busy }) => busy));
  }

  /** Triggers that did not change keep their time. */
  #plan(): void {
    const plans = new Map<string, Plan>();
    for (const trigger of this.#spec.triggers.all()) {
      const key = `${trigger.function}/${trigger.name}/${trigger.modifiedAt}`;
      const plan = this.#plans.get(key) ?? this.#planFor(trigger);
      if (plan) plans.set(key, plan);
    }
    this.#plans = plans;
    for (const { dueAt } of plans.values()) this.#alarm.by(dueAt);
  }

  #planFor(trigger: TriggerRecord): Plan | undefined {
    const { now, pollMs, queue } = this.#spec;
    const { timer, eventbridge } = trigger;
    if (timer?.enable) {
      const after = readCron(timer.cronExpression);
      return { trigger, dueAt: after(now()), busy: undefined, fire: () => this.#ring(trigger, timer.payload), after };
    }
    if (eventbridge?.triggerEnable && queue) {
      return { trigger, dueAt: now(), busy: undefined, fire: () => this.#poll(trigger, eventbridge, queue), after: (at) => at + pollMs };
    }
    return undefined;
  }

  #fireDue(): number {
    const at = this.#spec.now();
    let next = Infinity;
    for (const plan of this.#plans.values()) {
      if (!plan.busy && plan.dueAt <= at) {
        plan.dueAt = plan.after(at);
        plan.busy = this.#fire(plan);
      }
      if (!plan.busy) next = Math.min(next, plan.dueAt);
    }
    return next;
  }

  async #fire(plan: Plan): Promise<void> {
    try {
      await plan.fire();
    } catch (error) {
      const { function: name, name: trigger } = plan.trigger;
      if (!this.#stop.signal.aborted) this.#spec.log.event("trigger_failed", { function: name, trigger, error: String(error) });
    } finally {
      plan.busy = undefined;
      if (!this.#stop.signal.aborted) this.#alarm.by(Math.max(plan.dueAt, this.#spec.now()));
    }
  }

  async #ring(trigger: TriggerRecord, payload: string): Promise<void> {
    const triggerTime = new Date(this.#spec.now()).toISOString().replace(/\.\d+Z$/, "Z");
    await this.#deliver(trigger, { triggerTime, triggerName: trigger.name, payload });
  }

  /** Takes batches until the queue is empty. A batch that fails comes again when its time is up. */
  async #poll(trigger: TriggerRecord, config: NonNullable<TriggerRecord["eventbridge"]>, queue: QueueSource): Promise<void> {
    const name = config.eventSourceConfig.eventSourceParameters.sourceMNSParameters.QueueName;
    const max = config.runOptions?.batchWindow?.CountBasedWindow ?? 1;
    const visibilityMs = this.#spec.timeoutMsOf(trigger.function) + 5000;
    while (!this.#stop.signal.aborted) {
      const messages = await queue.receive(name, { max, visibilityMs });
      if (messages.length === 0) return;
      try {
        await this.#deliver(
          trigger,
          messages.map((message) => this.#cloudEvent(trigger, name, message)),
        );
      } catch (error) {
        const delayMs = Math.min(1000 * 2 ** (messages[0]?.attempts ?? 1), 60_000);
        for (const { receipt } of messages) await queue.release(name, receipt, { delayMs });
        throw error;
      }
      for (const { receipt } of messages) await queue.acknowledge(name, receipt);
    }
  }

  async #deliver(trigger: TriggerRecord, event: unknown): Promise<void> {
    const { answer, failed } = await this.#spec.invocations.invoke(trigger.function, {
      requestId: randomUUID(),
      body: Buffer.from(JSON.stringify(event)),
      headers: { "content-type": "application/json" },
      signal: this.#stop.signal,
    });
    const body = await readAnswer(answer, ANSWER_BYTES);
    if (failed) throw new Error(`The function answered ${answer.statusCode}: ${body.toString("utf8").slice(0, 500)}`);
  }

  #cloudEvent(trigger: TriggerRecord, queue: string, message: { id: string; body: string; attempts: number }): Record<string, unknown> {
    const { region, accountId } = this.#spec.place;
    const decode = trigger.eventbridge?.eventSourceConfig.eventSourceParameters.sourceMNSParameters.IsBase64Decode;
    return {
      id: message.id,
      source: `MNS-Function-${trigger.name}`,
      specversion: "1.0",
      type: "mns:Queue:SendMessage",
      datacontenttype: "application/json; charset=utf-8",
      subject: `acs:mns:${region}:${accountId}:queues/${queue}`,
      time: new Date(this.#spec.now()).toISOString(),
      aliyunaccountid: accountId,
      aliyunregionid: region,
      data: {
        requestId: randomUUID(),
        messageId: message.id,
        messageBody: decode ? Buffer.from(message.body, "base64").toString("utf8") : message.body,
      },
    };
  }
}
