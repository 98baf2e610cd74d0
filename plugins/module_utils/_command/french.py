# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The library's sentences in French: what is refused and what to do then, what comes next, reports, plans, steps.

By the English sentence, with {} for what is filled in: the library knows of no language, and playbooks say what they always said.
What is not here stays English: failures of single commands, and what a host's own programs say. Infinitives, as in the manual.
"""

from __future__ import annotations

import functools
import re

#: English -> French. Commands are those of `hvm`; {0}, {1} where the order is another one.
SENTENCES = {
    # refusals: `_pair.guards`
    "{} is refused, nothing was changed": "{}: refusé, rien n'a été changé",
    "this host is DIVERGED: it holds writes that the other lacks": (
        "cet hôte est DIVERGED: il a des écritures que l'autre n'a pas"
    ),
    "Decide about them first: hvm.pair.rejoin shows them.": "En décider d'abord: 'hvm rejoin' les montre.",
    "Correct hvm_hosts in the inventory and run hvm.pair.install.": (
        "Corriger hvm_hosts dans l'inventaire et lancer hvm.pair.install."
    ),
    "hvm.pair.recover finds out which one goes on; or name the one that you are sure of: hvm_start_host=NAME.": (
        "'hvm recover' trouve lequel continue; ou lancer 'hvm hv start' sur celui dont on est sûr."
    ),
    "{} was ACTIVE later (epoch {}, here {})": "{} a été ACTIF plus tard (époque {}, ici {})",
    "the newest complete set of {} is {}, and here {}": "le jeu complet le plus récent de {} est {}, et ici {}",
    "Start it on {} instead.": "Le démarrer plutôt sur {}.",
    "{} does not answer, so it may be ACTIVE": "{} ne répond pas, il est donc peut-être ACTIF",
    "If you know that it is switched off, say so: hvm_peer_is_down={}.": (
        "S'il est éteint à coup sûr, le dire: --peer-is-down {}."
    ),
    "{} (epoch {})": "{} (époque {})",
    "{} and {} were both ACTIVE, without each other": "{} et {} ont été ACTIFS tous les deux, l'un sans l'autre",
    "Each may hold writes that the other lacks. Look at both, then name the one that goes on: hvm.pair.rejoin with hvm_winner.": (
        "Chacun peut avoir des écritures que l'autre n'a pas. Regarder les deux, puis nommer celui qui continue: "
        "hvm rejoin --winner."
    ),
    "this host has seen epoch {}, and the one that asks is in epoch {}": (
        "cet hôte a vu l'époque {}, et celui qui demande est en époque {}"
    ),
    "If {} is lost: hvm.pair.failover shows what would be lost with it. If it is only silent: wait for it.": (
        "Si {} est perdu: 'hvm failover' montre ce qui serait perdu avec lui. S'il ne fait que se taire: l'attendre."
    ),
    "If {} is only silent, it goes on. If it is lost: hvm.pair.failover shows what would be lost with it.": (
        "Si {} ne fait que se taire, il continue. S'il est perdu: 'hvm failover' montre ce qui serait perdu avec lui."
    ),
    "this host and {} were both ACTIVE, in epoch {}": "cet hôte et {} ont été ACTIFS tous les deux, en époque {}",
    "this host has no role yet": "cet hôte n'a pas encore de rôle",
    "Run the playbook hvm.pair.install on both hosts.": "Lancer le playbook hvm.pair.install sur les deux hôtes.",
    "Run the playbook hvm.pair.install on both hosts of the pair.": (
        "Lancer le playbook hvm.pair.install sur les deux hôtes de la paire."
    ),
    "Run the playbook hvm.pair.install.": "Lancer le playbook hvm.pair.install.",
    "A replica must be inert: hvm_hypervisor state=stopped makes it so.": (
        "Une réplique doit être inerte: 'hvm hv stop' là-bas la rend telle."
    ),
    "this host is {}, and only a PASSIVE one is switched off": "cet hôte est {}, et seul un hôte PASSIF est éteint",
    "Run it on the other host, {}, if that one is ACTIVE.": "Lancer la commande sur l'autre hôte, {}, si celui-là est ACTIF.",
    "After a boot nothing starts by itself: hvm.pair.recover finds the host that was ACTIVE last, and starts it.": (
        "Après un démarrage rien ne part tout seul: 'hvm recover' trouve le dernier hôte ACTIF, et le démarre."
    ),
    "It holds writes that the other lacks: decide about them first (hvm.pair.rejoin).": (
        "Il a des écritures que l'autre n'a pas: en décider d'abord (hvm rejoin)."
    ),
    "this host is {}, and only the ACTIVE one can {}": "cet hôte est {}, et seul l'hôte ACTIF peut {}",
    "be backed up": "être sauvegardé",
    "hand its VMs over": "céder ses VMs",
    "have the shared IP": "avoir l'IP partagée",
    "run VMs": "faire tourner des VMs",
    "take snapshots": "créer des snapshots",
    "VM {} cannot be saved ({})": "la VM {} ne peut être sauvegardée ({})",
    "host device": "périphérique de l'hôte",
    "Shut it down first.": "L'arrêter d'abord.",
    "{} does not answer, so it may be ACTIVE; what it wrote since {} is only there": (
        "{} ne répond pas, il est donc peut-être ACTIF; ce qu'il a écrit depuis {} n'est que là-bas"
    ),
    "{} does not answer, so it may be ACTIVE; what it wrote is only there": (
        "{} ne répond pas, il est donc peut-être ACTIF; ce qu'il a écrit n'est que là-bas"
    ),
    "hvm.pair.failover shows what would be lost. If you know that {} is switched off: hvm_peer_is_down={}.": (
        "'hvm failover' montre ce qui serait perdu. Si {} est éteint à coup sûr: --peer-is-down {}."
    ),
    "it belongs to the pair {}, not to {}": "il appartient à la paire {}, pas à {}",
    "{} is in use by {}": "{} est utilisé par {}",
    "{} is in use by {} and could not be unmounted": "{} est utilisé par {} et ne pourrait être démonté",
    "{} is mounted without hvm.pair, which would not mount it again after a stop or a move": (
        "{} est monté sans hvm.pair, qui ne le remonterait pas après un arrêt ou une migration"
    ),
    "{} is mounted at {}, where hvm.pair would not mount it again": "{} est monté à {}, où hvm.pair ne le remonterait pas",
    "Unmount it: umount {}.": "Le démonter: umount {}.",
    "Leave that to hvm.pair: zfs set canmount=noauto{} {}.": "Laisser cela à hvm.pair: zfs set canmount=noauto{} {}.",
    "End that (a shell with its directory there?).": "Y mettre fin (un shell dont le répertoire est là?).",
    "another operation is running: {}": "une autre opération est en cours: {}",
    "another operation is running on {}: {}": "une autre opération est en cours sur {}: {}",
    "{} stays off, and its image is of the past: {}. It is kept as {}": (
        "{} reste arrêtée, et son image est du passé: {}. Elle est gardée dans {}"
    ),
    "the encryption key of {} is not loaded": "la clé de chiffrement de {} n'est pas chargée",
    "Load it there: zfs load-key -a.": "La charger là-bas: zfs load-key -a.",
    "overlays of {}, which no VM uses, are kept in {}": "des overlays de {}, qu'aucune VM n'utilise, sont gardés dans {}",
    "whether overlays are left that no VM uses is not known: {}": (
        "s'il reste des overlays qu'aucune VM n'utilise n'est pas connu: {}"
    ),
    "overlays are left: {}; what their VMs write is in no dataset of the pair": (
        "il reste des overlays: {}; ce que leurs VMs écrivent n'est dans aucun volume de la paire"
    ),
    "hvm.pair.recover merges them into their disks.": "hvm recover les réunit à leurs disques.",
    "Its replicas can follow when it is back.": "Ses réplicas pourront suivre quand il sera revenu.",
    "Wait until it has ended.": "Attendre qu'elle soit terminée.",
    "Wait until it has ended, then run this again.": "Attendre qu'elle soit terminée, puis relancer.",
    "neither this host nor {} was ACTIVE last": "ni cet hôte ni {} n'a été ACTIF en dernier",
    "this host is PASSIVE: its datasets are copies of those of {}": (
        "cet hôte est PASSIF: ses volumes sont des copies de ceux de {}"
    ),
    "Run it on {}. If that host is lost, start this one (hvm_hypervisor state=started), stop it, and roll back.": (
        "Lancer la commande sur {}. Si cet hôte est perdu, démarrer celui-ci (hvm hv start), l'arrêter, et faire le retour "
        "arrière."
    ),
    "Decide about them first.": "En décider d'abord.",
    "{} by {}, begun {} on {}, did not end: it was last at '{}'": (
        "{} par {}, lancée le {} sur {}, ne s'est pas terminée: elle en était à '{}'"
    ),
    "{}, begun {}, did not end: it was last at '{}'": "{}, lancée le {}, ne s'est pas terminée: elle en était à '{}'",
    "{} is ACTIVE too (epoch {}; {} has epoch {})": "{} est ACTIF aussi (époque {}; {} est en époque {})",
    "Two ACTIVE hosts, and {} was it before the other: stop the VMs there, before anything else.": (
        "Deux hôtes ACTIFS, dont {} l'était avant l'autre: avant tout, y arrêter les VMs."
    ),
    "Two ACTIVE hosts, and nothing tells which was it later: look at both, and stop the VMs on one before anything else.": (
        "Deux hôtes ACTIFS, et rien ne dit lequel l'a été en dernier: regarder les deux, et avant tout arrêter les VMs de l'un."
    ),
    "{} has seen epoch {} and {} only {}": "{} a vu l'époque {}, et {} seulement {}",
    "{} was ACTIVE after {}: its data are newer. Nothing may be sent over them.": (
        "{} a été ACTIF après {}: ses données sont plus récentes. Rien ne doit les écraser."
    ),
    "its hypervisor is running although it is not ACTIVE": "son hyperviseur est en marche alors qu'il n'est pas ACTIF",
    "Stop it there: hvm_hypervisor state=stopped.": "L'arrêter là-bas: hvm hv stop.",
    "VMs run there: {}": "des VMs y tournent: {}",
    "Shut them down there first; they run on a copy.": "Les y arrêter d'abord; elles tournent sur une copie.",
    "dataset {} does not exist": "le volume {} n'existe pas",
    "Create it (hvm.pair.install does), or correct hvm_datasets.": (
        "Le créer (hvm.pair.install le fait), ou corriger hvm_datasets."
    ),
    "{} is mounted": "{} est monté",
    "{} is writable": "{} peut être écrit",
    "{} has a device (volmode={})": "{} a un périphérique (volmode={})",
    "{} although it is PASSIVE": "{} alors qu'il est PASSIF",
    "dataset {} is there and not on {} (renamed or destroyed here?)": (
        "le volume {} est là et pas sur {} (renommé ou détruit ici?)"
    ),
    "Rename it to a place outside of {}, or destroy it.": "Le renommer hors de {}, ou le détruire.",
    "the VMs need {} MiB of memory and {} MiB are free": "les VMs ont besoin de {} Mio de mémoire, et {} Mio sont libres",
    "Free some there.": "En libérer là-bas.",
    "interface {} for the shared IP is not there": "l'interface {} de l'adresse IP partagée n'existe pas",
    "Correct hvm_service_iface.": "Corriger hvm_service_iface.",
    "the state images may need {} MiB and {} has {} MiB free": (
        "les sauvegardes d'état peuvent demander {} Mio, et {} a {} Mio libres"
    ),
    "Free some, or shut down VMs that need not run.": "En libérer, ou arrêter des VMs qui n'ont pas à tourner.",
    "the hypervisor is stopped, so there is nothing to migrate": "l'hyperviseur est arrêté, il n'y a donc rien à migrer",
    "Start it: hvm_hypervisor state=started.": "Le démarrer: hvm hv start.",
    "this run comes in over the shared IP, which is about to move": (
        "cette session passe par l'adresse IP partagée, qui va se déplacer"
    ),
    "this session comes in over the shared IP, which is about to move": (
        "cette session passe par l'adresse IP partagée, qui va se déplacer"
    ),
    "this run comes in over the shared IP, which is taken off this host when it stops": (
        "cette session passe par l'adresse IP partagée, qui quitte cet hôte quand il s'arrête"
    ),
    "this session came in over the shared address {}, and would be cut off": (
        "cette session passe par l'adresse partagée {}, et serait coupée"
    ),
    "Connect to the host's own address and run this again.": "Se connecter à l'adresse propre de l'hôte et relancer.",
    "Connect to the host's own address, as {}.": "Se connecter à l'adresse propre de l'hôte, {}.",
    "Connect to the host's own address, {}.": "Se connecter à l'adresse propre de l'hôte, {}.",
    "the replicas are of two moments: {} has arrived on some datasets only": (
        "les répliques sont de deux moments: {} n'est arrivé que sur une partie des volumes"
    ),
    "hvm.pair.recover or hvm.pair.failover goes back to the last complete set.": (
        "'hvm recover' ou 'hvm failover' revient au dernier jeu complet."
    ),
    "{} is {} and its hypervisor is not stopped": "{} est {} et son hyperviseur n'est pas arrêté",
    "Migrate from there instead.": "Migrer plutôt depuis celui-là.",
    "Its data are older than this host's: nothing is taken from it.": (
        "Ses données sont plus anciennes que celles d'ici: rien n'en est pris."
    ),
    "VMs run here: {}": "des VMs tournent ici: {}",
    "VMs run here: {}, although it is not the host that goes on with them": (
        "des VMs tournent ici: {}, alors que ce n'est pas l'hôte qui continue avec elles"
    ),
    "Shut them down first; they run on a copy.": "Les arrêter d'abord; elles tournent sur une copie.",
    "this host is {} in epoch {} and cannot become ACTIVE in {}": "cet hôte est {} en époque {} et ne peut devenir ACTIF en {}",
    "the hypervisor or VMs are running already": "l'hyperviseur ou des VMs sont déjà en marche",
    "the set {} is not the state of {}": "le jeu {} n'est pas l'état de {}",
    "all datasets": "tous les volumes",
    "this host is PASSIVE, and mounting alone changes a replica (OpenZFS #12580): the next sync would be refused": (
        "cet hôte est PASSIF, et le seul montage modifie une réplique (OpenZFS #12580): la synchro suivante serait refusée"
    ),
    "Look at a clone of a snapshot instead (zfs clone). If this host shall take over: hvm_hypervisor state=started.": (
        "Regarder plutôt un clone d'un snapshot (zfs clone). Si cet hôte doit reprendre: hvm hv start."
    ),
    "VMs are running: {}": "des VMs sont en marche: {}",
    "Shut them down, save them, or migrate them first.": "Les arrêter, les sauvegarder ou les migrer d'abord.",
    "the hypervisor is running and uses the datasets": "l'hyperviseur est en marche et utilise les volumes",
    "Stop it, which unmounts them too: hvm_hypervisor state=stopped.": "L'arrêter, ce qui les démonte aussi: hvm hv stop.",
    "this host was not ACTIVE last, and {} does not answer": "cet hôte n'a pas été ACTIF en dernier, et {} ne répond pas",
    "Look which one has the newest data, and start nothing before.": (
        "Voir lequel a les données les plus récentes, et ne rien démarrer avant."
    ),
    "the hypervisor is running on the present datasets": "l'hyperviseur est en marche sur les volumes actuels",
    "Stop it: hvm_hypervisor state=stopped.": "L'arrêter: hvm hv stop.",
    "Shut them down, or save them.": "Les arrêter, ou les sauvegarder.",
    "it is {}": "il est {}",
    "Only the replicas of a PASSIVE host follow.": "Seules suivent les répliques d'un hôte PASSIF.",
    "See hvm.pair.status for what comes next.": "Voir la suite avec: hvm status --all.",
    "the hypervisor is running": "l'hyperviseur est en marche",
    "the hypervisor is stopped": "l'hyperviseur est arrêté",
    "the shared IP is enabled here": "l'adresse IP partagée est activée ici",
    "Take it off: hvm_shared_ip state=disabled.": "La retirer: hvm hv sharedIP disable.",
    "Shut them down first.": "Les arrêter d'abord.",
    "pool {} is not there": "le pool {} n'est pas là",
    "Import it (zpool import {}), or correct hvm_datasets.": "L'importer (zpool import {}), ou corriger hvm_datasets.",
    "hvm.pair.recover finishes it or undoes it, and says which.": "'hvm recover' la termine ou l'annule, et dit lequel des deux.",
    "it has no role yet": "il n'a pas encore de rôle",
    "VM {} wants the emulator {}, which is not there": "la VM {} demande l'émulateur {}, qui n'est pas là",
    "Install it there.": "L'y installer.",
    "the QEMU of VM {} does not answer": "le QEMU de la VM {} ne répond pas",
    "See virsh domcontrol {}. hvm_vm state=poweredoff ends it; then start it again.": (
        "Voir virsh domcontrol {}. 'hvm vm poweroff' l'arrête; puis la démarrer."
    ),
    "VM {} holds a device of the host and cannot be saved": (
        "la VM {} tient un périphérique de l'hôte et ne peut être sauvegardée"
    ),
    "Shut it down first, or detach the device.": "L'arrêter d'abord, ou détacher le périphérique.",
    "VM {} is transient and would be lost": "la VM {} est transitoire et serait perdue",
    "Define it (virsh define), or shut it down.": "La définir (virsh define), ou l'arrêter.",
    "VM {} runs and yet has a state image": "la VM {} tourne et a pourtant une sauvegarde d'état",
    "Look which is right; move the image away if it is old.": (
        "Voir laquelle est la bonne; déplacer la sauvegarde si elle est ancienne."
    ),
    "bridge {} is not there, and {} need it": "le pont {} n'est pas là, et {} en ont besoin",
    "Create it there, as it is on this host.": "L'y créer, comme il est sur cet hôte.",
    "it could not take the shared IP: {}": "il ne pourrait prendre l'adresse IP partagée: {}",
    "Look at it: zfs list; correct hvm_datasets.": "Regarder: zfs list; corriger hvm_datasets.",
    "it is ACTIVE": "il est ACTIF",
    "Roll back there: {} is not the ACTIVE host any more, and comes back by hvm.pair.recover.": (
        "Faire le retour arrière là-bas: {} n'est plus l'hôte ACTIF, et revient par 'hvm recover'."
    ),
    "On {}: hvm_zfs_rollback state=followed goes on with it. If that host is lost: hvm.pair.failover does.": (
        "Sur {}: 'hvm rollback --rollback-state followed' la poursuit. Si cet hôte est perdu: 'hvm failover' le fait."
    ),
    "it was ACTIVE later (epoch {}, {} has epoch {})": "il a été ACTIF plus tard (époque {}, {} est en époque {})",
    "Its data are the newer ones: start it there, and look at 'status' of both.": (
        "Ses données sont les plus récentes: le démarrer là-bas, et voir 'hvm status' des deux."
    ),
    "pool {} is {}": "le pool {} est {}",
    "pool {} of {} is DEGRADED: replace what has failed (zpool status {})": (
        "le pool {} de {} est DEGRADED: remplacer ce qui est en panne (zpool status {})"
    ),
    "Repair it first: zpool status {}.": "Le réparer d'abord: zpool status {}.",
    "it is DIVERGED: it holds writes that the other lacks": "il est DIVERGED: il a des écritures que l'autre n'a pas",
    "VM {}: disk {} is on no replicated dataset": "VM {}: le disque {} n'est sur aucun volume répliqué",
    "Move it below one of hvm_datasets; it would be left behind.": (
        "Le déplacer sous l'un des hvm_datasets; il resterait en arrière."
    ),
    "{} was ACTIVE last (epoch {}): what it wrote since the last set is only there": (
        "{} a été ACTIF en dernier (époque {}): ce qu'il a écrit depuis le dernier jeu n'est que là-bas"
    ),
    "Start it there. If {} cannot: hvm.pair.failover shows what would be lost.": (
        "Le démarrer là-bas. Si {} ne le peut pas: 'hvm failover' montre ce qui serait perdu."
    ),
    "its hypervisor is not stopped": "son hyperviseur n'est pas arrêté",
    "it was ACTIVE (epoch {}) before it rebooted": "il était ACTIF (époque {}) avant son redémarrage",
    "Find out which host has the newest data before anything is sent there.": (
        "Trouver quel hôte a les données les plus récentes avant d'y envoyer quoi que ce soit."
    ),
    # who goes on: `_pair.recovery`
    "{} was ACTIVE in epoch {}": "{} a été ACTIF en époque {}",
    "{} was ACTIVE last, in epoch {}": "{} a été ACTIF en dernier, en époque {}",
    "{} was ACTIVE last, in epoch {}; {} answers and is {} in epoch {}: {} becomes ACTIVE in epoch {}": (
        "{} a été ACTIF en dernier, en époque {}; {} répond et est {} en époque {}: {} devient ACTIF en époque {}"
    ),
    "{} was ACTIVE last, in epoch {}; {} is off, by the operator's word: {} becomes ACTIVE in epoch {}": (
        "{} a été ACTIF en dernier, en époque {}; {} est éteint, selon l'opérateur: {} devient ACTIF en époque {}"
    ),
    "{} had begun to hand over; {} is off, by the operator's word: {} becomes ACTIVE in epoch {}": (
        "{} avait commencé à céder la main; {} est éteint, selon l'opérateur: {} devient ACTIF en époque {}"
    ),
    "{} is ACTIVE, and {}: {} goes on in epoch {}": "{} est ACTIF, et {}: {} continue en époque {}",
    "{} stopped at '{}'": "{} s'est arrêtée à '{}'",
    "its hypervisor is stopped": "son hyperviseur est arrêté",
    "{} and {} are both PASSIVE, and neither says why": "{} et {} sont tous les deux PASSIFS, et aucun ne dit pourquoi",
    "Look at 'status' of both for the newest set, and start the host that has it: hvm_hypervisor state=started.": (
        "Voir avec 'hvm status --all' des deux le jeu le plus récent, et démarrer l'hôte qui l'a: hvm hv start."
    ),
    "{} answers, is stopped, and becomes DIVERGED": "{} répond, est arrêté, et devient DIVERGED",
    "{} becomes ACTIVE in epoch {}, with the set {}: {}": "{} devient ACTIF en époque {}, avec le jeu {}: {}",
    "{} becomes PASSIVE in epoch {}": "{} devient PASSIF en époque {}",
    "{} stays PASSIVE in epoch {}": "{} reste PASSIF en époque {}",
    "hvm_rejoin=keep, hvm_rejoin=discard with hvm_discard={}, or hvm_winner={}": (
        "hvm rejoin --rejoin keep, hvm rejoin --rejoin discard --discard {}, ou hvm rejoin --winner {}"
    ),
    "to go on there: hvm.pair.rejoin with hvm_winner={}": "pour continuer là-bas: hvm rejoin --winner {}",
    "To go on here: hvm.pair.failover with hvm_give_up={}; {}.": "Pour continuer ici: hvm failover --give-up {}; {}.",
    "{} does not answer, and {} is PASSIVE: {} may be ACTIVE": "{} ne répond pas, et {} est PASSIF: {} est peut-être ACTIF",
    "{} answers, so it is not off, but it cannot be asked: {}": (
        "{} répond, il n'est donc pas éteint, mais on ne peut l'interroger: {}"
    ),
    "Mend that; hvm.pair.install brings both hosts to one version. To go on without it: switch it off, then say so.": (
        "Réparer cela; hvm.pair.install donne la même version aux deux hôtes. Pour continuer sans lui: l'éteindre, puis le dire."
    ),
    "{} does not answer, so it may have become ACTIVE": "{} ne répond pas, il est donc peut-être devenu ACTIF",
    "When it answers, run this again. If you know that it is switched off, say so: hvm_peer_is_down={}.": (
        "Quand il répond, relancer. S'il est éteint à coup sûr, le dire: --peer-is-down {}."
    ),
    "{} is ACTIVE in epoch {}: {} stays PASSIVE ({})": "{} est ACTIF en époque {}: {} reste PASSIF ({})",
    "{} had begun a {} and {} is PASSIVE too": "{} avait commencé une opération {} et {} est PASSIF aussi",
    "Which has the newest data cannot be told from that. Look at both (hvm.pair.rejoin --check), then name the one that goes on: hvm.pair.rejoin with hvm_winner.": (  # noqa: E501  the library's own sentence
        "Cela ne dit pas lequel a les données les plus récentes. Regarder les deux (hvm rejoin --check), puis nommer celui qui "
        "continue: hvm rejoin --winner."
    ),
    "two ACTIVE hosts: {} in epoch {}, {} in epoch {}": "deux hôtes ACTIFS: {} en époque {}, {} en époque {}",
    "Shut down the VMs on {} now and stop its hypervisor (hvm_hypervisor state=stopped), unless you want its data to go on; then hvm.pair.rejoin with hvm_winner.": (  # noqa: E501  the library's own sentence
        "Arrêter maintenant les VMs sur {} puis son hyperviseur (hvm hv stop), à moins de vouloir continuer avec ses données; "
        "puis hvm rejoin --winner."
    ),
    "{} does not answer, and may still be running": "{} ne répond pas, et tourne peut-être encore",
    "See by other means that {} is off, then run this again without the fence command.": (
        "S'assurer autrement que {} est éteint, puis relancer sans --fence."
    ),
    "Migrate instead (hvm.pair.migrate_secure), or run hvm.pair.recover on {}.": (
        "Migrer plutôt (hvm migrate secure), ou lancer 'hvm recover' sur {}."
    ),
    "Start it there (hvm.pair.recover). If what is shown may be left behind: hvm_give_up={}.": (
        "Le démarrer là-bas (hvm recover). Si ce qui est montré peut être abandonné: --give-up {}."
    ),
    "the last complete set is {}, {} old; what was written after it would be lost": (
        "le dernier jeu complet est {}, vieux de {}; ce qui a été écrit après serait perdu"
    ),
    "Shut its VMs down and stop it first: hvm_vm state=shutdown all=true, hvm_hypervisor state=stopped on {}.": (
        "Arrêter d'abord ses VMs, puis l'arrêter: hvm vms shutdown, hvm hv stop sur {}."
    ),
    "{} is PASSIVE and has nothing of its own": "{} est PASSIF et n'a rien en propre",
    "{} is PASSIVE and has nothing of its own: there is nothing to do": (
        "{} est PASSIF et n'a rien en propre: il n'y a rien à faire"
    ),
    "VMs run here although it is {}: {}": "des VMs tournent ici alors qu'il est {}: {}",
    "{} is DIVERGED; {} is ACTIVE, and there hvm.pair.rejoin decides: {}": (
        "{} est DIVERGED; {} est ACTIF, et là-bas 'hvm rejoin' décide: {}"
    ),
    "{}, later than any other: {} recovers first, {} is {} and waits": (
        "{}, plus tard que tout autre: {} repart d'abord, {} est {} et attend"
    ),
    "{}, later than {}: {} recovers first": "{}, plus tard que {}: {} repart d'abord",
    "{}: {} recovers first": "{}: {} repart d'abord",
    "{}: hvm.pair.rejoin comes next": "{}: 'hvm rejoin' vient ensuite",
    "{} does not answer, and the failover of {} did not end": "{} ne répond pas, et le failover de {} ne s'est pas terminé",
    "{} was told to take over and does not answer, so it may be ACTIVE": (
        "{} devait reprendre et ne répond pas, il est donc peut-être ACTIF"
    ),
    "{} is ACTIVE in epoch {}, {} was in epoch {}": "{} est ACTIF en époque {}, {} l'était en époque {}",
    "{} is ACTIVE in epoch {} and runs: there is nothing to recover": (
        "{} est ACTIF en époque {} et en marche: rien à remettre en état"
    ),
    "{} is ACTIVE in epoch {}, {} is PASSIVE: there is nothing to recover": (
        "{} est ACTIF en époque {}, {} est PASSIF: rien à remettre en état"
    ),
    "{}: {} becomes ACTIVE in epoch {}": "{}: {} devient ACTIF en époque {}",
    "{} is ACTIVE": "{} est ACTIF",
    "{} is PASSIVE": "{} est PASSIF",
    "{} is UNKNOWN": "{} est UNKNOWN",
    "{} is DIVERGED": "{} est DIVERGED",
    "{} had begun to hand over": "{} avait commencé à céder la main",
    "{} has seen epoch {}": "{} a vu l'époque {}",
    "{}; {} has seen epoch {}": "{}; {} a vu l'époque {}",
    "{} has seen epoch {} and {}, which was ACTIVE, only {}": "{} a vu l'époque {} et {}, qui était ACTIF, seulement {}",
    "it has not seen that epoch": "il n'a pas vu cette époque",
    "{}; it has not seen that epoch": "{}; il n'a pas vu cette époque",
    "its hypervisor is running although it is {}": "son hyperviseur est en marche alors qu'il est {}",
    "{} in epoch {}": "{} en époque {}",
    "To go on with them: hvm.pair.rejoin with hvm_winner={} hvm_dead_host={}.": (
        "Pour continuer avec elles: hvm rejoin --winner {} --dead-host {}."
    ),
    "To go on with them: hvm.pair.rejoin with hvm_winner={}.": "Pour continuer avec elles: hvm rejoin --winner {}.",
    "{} can come back when it does. If it is off and lost, with what only it has: hvm_winner={} hvm_dead_host={}.": (
        "{} pourra revenir quand il répondra. S'il est éteint et perdu, avec ce que lui seul possède: --winner {} --dead-host {}."
    ),
    "{} is ACTIVE in epoch {}: there is nothing to take over": "{} est ACTIF en époque {}: il n'y a rien à reprendre",
    "{} was ACTIVE in epoch {} and has what {} lacks: {}": "{} a été ACTIF en époque {} et possède ce que {} n'a pas: {}",
    "{} is {} in epoch {} and has what {} lacks: {}": "{} est {} en époque {} et possède ce que {} n'a pas: {}",
    "It is held until somebody decides: {}": "C'est gardé jusqu'à ce que quelqu'un décide: {}",
    "{} becomes DIVERGED and it is held until somebody decides: {}": (
        "{} devient DIVERGED, et c'est gardé jusqu'à ce que quelqu'un décide: {}"
    ),
    "It is kept beside, and {} becomes PASSIVE in epoch {}": "C'est gardé à côté, et {} devient PASSIF en époque {}",
    "It is destroyed, by the operator's word, and {} becomes PASSIVE in epoch {}": (
        "C'est détruit, selon l'opérateur, et {} devient PASSIF en époque {}"
    ),
    "{} was ACTIVE in epoch {} and has nothing of its own: it becomes PASSIVE in epoch {}": (
        "{} a été ACTIF en époque {} et n'a rien en propre: il devient PASSIF en époque {}"
    ),
    "{} is {} in epoch {} and has nothing of its own: it becomes PASSIVE in epoch {}": (
        "{} est {} en époque {} et n'a rien en propre: il devient PASSIF en époque {}"
    ),
    "{} was ACTIVE in epoch {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, {} ({}) becomes DIVERGED, "
    "if it has anything of its own": (
        "{} a été ACTIF en époque {} et gagne, selon l'opérateur: il devient ACTIF en époque {}, {} ({}) devient DIVERGED, "
        "s'il a quelque chose à lui"
    ),
    "{} is {} in epoch {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, {} ({}) becomes DIVERGED, "
    "if it has anything of its own": (
        "{} est {} en époque {} et gagne, selon l'opérateur: il devient ACTIF en époque {}, {} ({}) devient DIVERGED, "
        "s'il a quelque chose à lui"
    ),
    "{} was ACTIVE in epoch {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, {} ({}) becomes DIVERGED": (
        "{} a été ACTIF en époque {} et gagne, selon l'opérateur: il devient ACTIF en époque {}, {} ({}) devient DIVERGED"
    ),
    "{} is {} in epoch {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, {} ({}) becomes DIVERGED": (
        "{} est {} en époque {} et gagne, selon l'opérateur: il devient ACTIF en époque {}, {} ({}) devient DIVERGED"
    ),
    "{} is {} in epoch {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, and {} is off": (
        "{} est {} en époque {} et gagne, selon l'opérateur: il devient ACTIF en époque {}, et {} est éteint"
    ),
    "there is nothing to take over": "il n'y a rien à reprendre",
    "Run hvm.pair.recover, with hvm_peer_is_down={} if that host is off.": (
        "Lancer 'hvm recover', avec --peer-is-down {} si cet hôte est éteint."
    ),
    "{} was fenced": "{} a été éteint par la commande",
    "{} is off, by the operator's word": "{} est éteint, selon l'opérateur",
    "it succeeded, and {} still answers": "elle a réussi, et {} répond encore",
    "{} is not the other host of the pair": "{} n'est pas l'autre hôte de la paire",
    "If {} is off, name it: hvm_peer_is_down={}.": "Si {} est éteint, le nommer: --peer-is-down {}.",
    "{} answers, and has no role: it was set up anew, or its record is gone": (
        "{} répond, et n'a pas de rôle: il a été installé à neuf, ou son enregistrement n'est plus là"
    ),
    "If the data of {} are to go on: hvm_give_up={}.": "Si ce sont les données de {} qui continuent: --give-up {}.",
    "{} answers, is stopped, and has no role": "{} répond, est arrêté, et n'a pas de rôle",
    "{} answers, and was ACTIVE last": "{} répond, et a été ACTIF en dernier",
    "VM {}: loses {}, and goes on from its saved memory": "VM {}: perd {}, et repart de sa mémoire sauvegardée",
    "VM {}: cannot go on: its disks on {} are not in the set": (
        "VM {}: ne peut repartir: ses disques sur {} ne sont pas dans le jeu"
    ),
    "dataset {}: is not in the set": "volume {}: n'est pas dans le jeu",
    (
        "dataset {}: is not in the set; its last replica is kept, and comes back, once this host is ACTIVE, by: "
        "zfs rename {} {}; zfs inherit readonly {}; zfs inherit volmode {}"
    ): (
        "volume {}: n'est pas dans le jeu; sa dernière réplique est gardée, et revient, une fois cet hôte ACTIF, par: "
        "zfs rename {} {}; zfs inherit readonly {}; zfs inherit volmode {}"
    ),
    "VM {}: loses {}, and starts anew from its disks": "VM {}: perd {}, et redémarre depuis ses disques",
    "dataset {}: written since: {} bytes": "volume {}: écrit depuis: {} octets",
    "dataset {}: written since: unknown": "volume {}: écrit depuis: inconnu",
    "{} days": "{} jours",
    "it was not stopped in good order, so its intent logs may hold writes": (
        "il n'a pas été arrêté proprement, ses journaux ZIL peuvent donc contenir des écritures"
    ),
    "{} is {}: it is the host that comes back, and {} the one that goes on": (
        "{} est {}: c'est l'hôte qui revient, et {} celui qui continue"
    ),
    "{} is not the host that comes back": "{} n'est pas l'hôte qui revient",
    "the host whose own data go is not named: {}": "l'hôte dont les données propres disparaissent n'est pas nommé: {}",
    "the fence command failed, which proves nothing: {}": "la commande d'extinction a échoué, ce qui ne prouve rien: {}",
    "{} answers and is ACTIVE": "{} répond et est ACTIF",
    "{} answers and is PASSIVE": "{} répond et est PASSIF",
    "Run hvm.pair.recover: it finds the host that goes on.": "Lancer 'hvm recover': il trouve l'hôte qui continue.",
    "{} snapshots of its own on {}": "{} snapshots propres sur {}",
    "{} bytes written since on {}": "{} octets écrits depuis sur {}",
    "To destroy what only {} has: hvm_discard={}.": "Pour détruire ce que seul {} possède: --discard {}.",
    "{} is named as the winner": "{} est nommé gagnant",
    "It is decided there: run this on {}.": "Cela se décide là-bas: lancer la commande sur {}.",
    "Run this on the ACTIVE host, or name the winner: hvm_winner.": "Lancer sur l'hôte ACTIF, ou nommer le gagnant: --winner.",
    "Shut them down: they run on a copy, or on data that are not the newest.": (
        "Les arrêter: elles tournent sur une copie, ou sur des données qui ne sont pas les plus récentes."
    ),
    "{} is DIVERGED, and no host is ACTIVE": "{} est DIVERGED, et aucun hôte n'est ACTIF",
    "If {} is lost: hvm.pair.failover shows what would be lost with it.": (
        "Si {} est perdu: 'hvm failover' montre ce qui serait perdu avec lui."
    ),
    "this host was ACTIVE itself before it rebooted": "cet hôte était lui-même ACTIF avant son redémarrage",
    "there is no complete snapshot set here": "il n'y a aucun jeu complet de snapshots ici",
    "There is nothing to take over with.": "Il n'y a rien avec quoi reprendre.",
    "If {} is off, and what is shown may be lost, name it: hvm_dead_host={}.": (
        "Si {} est éteint, et si ce qui est montré peut être perdu, le nommer: --dead-host {}."
    ),
    "{} is not a host of the pair": "{} n'est pas un hôte de la paire",
    "Its hosts are {} and {}.": "Ses hôtes sont {} et {}.",
    "{} does not answer": "{} ne répond pas",
    "{} does not answer: {}": "{} ne répond pas: {}",
    "It can come back when it does.": "Il pourra revenir quand il répondra.",
    "{} is ACTIVE and runs": "{} est ACTIF et en marche",
    "That is a failover: hvm.pair.failover.": "C'est un failover: hvm failover.",
    "hvm.pair.failover goes on with it, with the same variables.": "'hvm failover' la poursuit, avec les mêmes options.",
    # VMs that move: `_pair.moving`, `_pair.modes`
    "Look for its process (virsh domstate --reason); a VM must run or be off to move.": (
        "Chercher son processus (virsh domstate --reason); une VM doit tourner ou être arrêtée pour se déplacer."
    ),
    "VM {} stands still in the midst of its move, and may be the other host's": (
        "la VM {} est arrêtée au milieu de son déplacement, et est peut-être celle de l'autre hôte"
    ),
    "VM {} cannot be proven stopped": "l'arrêt de la VM {} ne peut être prouvé",
    "an operation did not end here": "une opération ne s'est pas terminée ici",
    "hvm.pair.recover on this host puts that in order.": "'hvm recover' sur cet hôte y remet de l'ordre.",
    "hvm.pair.recover on {} puts them where they belong.": "'hvm recover' sur {} les remet à leur place.",
    "no VM has arrived here with the set {}": "aucune VM n'est arrivée ici avec le jeu {}",
    "overlays are left here: {}": "il reste des overlays ici: {}",
    "overlays of an earlier migrate_unsecure are left: {}": "il reste des overlays d'un migrate_unsecure antérieur: {}",
    "{} did not arrive here": "pas arrivées ici: {}",
    "On {}: hvm.pair.migrate_unsecure goes on with it, hvm.pair.recover brings the VMs back.": (
        "Sur {}: 'hvm migrate unsecure' la poursuit, 'hvm recover' fait revenir les VMs."
    ),
    "hvm.pair.recover on this host ends it, or says what is in the way.": (
        "'hvm recover' sur cet hôte y met fin, ou dit ce qui l'en empêche."
    ),
    "State: MOVING, the VMs are on both hosts": "État: MOVING, les VMs sont sur les deux hôtes",
    "hvm.pair.migrate_unsecure goes on with it, hvm.pair.recover brings the VMs back.": (
        "'hvm migrate unsecure' la poursuit, 'hvm recover' fait revenir les VMs."
    ),
    "hvm.pair.recover brings the VMs back; then begin anew.": "'hvm recover' fait revenir les VMs; puis recommencer.",
    "hvm.pair.recover finds out which host goes on.": "'hvm recover' trouve quel hôte continue.",
    "it was last at '{}': from there it only goes back": "elle en était à '{}': de là on ne peut que revenir",
    "the {} of {} is half done on this host: it cannot be acknowledged": (
        "le {} de {} n'est fait qu'à moitié sur cet hôte: il ne peut être acquitté"
    ),
    "only the journal of migrate_unsecure says where each VM is: it cannot be acknowledged": (
        "seul le journal de migrate_unsecure dit où est chaque VM: il ne peut être acquitté"
    ),
    "this host is {}, and only the ACTIVE one goes on with it": "cet hôte est {}, et seul l'hôte ACTIF la poursuit",
    "{} does not know of this move": "{} ne connaît pas ce déplacement",
    "{} has rebooted since, or was stopped: {} had moved there and do not run": (
        "{} a redémarré depuis, ou a été arrêté: {} y avaient migré et ne tournent pas"
    ),
    "Choose that set: hvm_failover_to={}.": "Choisir ce jeu: --failover-to {}.",
    "If it is off and lost, with what they wrote there: hvm_peer_is_down={} hvm_give_up={}.": (
        "S'il est éteint et perdu, avec ce qu'elles y ont écrit: --peer-is-down {} --give-up {}."
    ),
    "Look there for their overlays. If they are lost, with what the VMs wrote: hvm_give_up={}.": (
        "Chercher leurs overlays là-bas. S'ils sont perdus, avec ce que les VMs ont écrit: --give-up {}."
    ),
    "Run hvm.pair.recover, with hvm_peer_is_down={} and hvm_give_up={} if that host is off and lost.": (
        "Lancer 'hvm recover', avec --peer-is-down {} et --give-up {} si cet hôte est éteint et perdu."
    ),
    "They go on as they are. If {} is lost: hvm.pair.failover shows what would be lost with it.": (
        "Elles continuent telles quelles. Si {} est perdu: 'hvm failover' montre ce qui serait perdu avec lui."
    ),
    "To go on there with what it has: hvm.pair.recover on {} with hvm_give_up={}.": (
        "Pour continuer là-bas avec ce qu'il a: 'hvm recover' sur {} avec --give-up {}."
    ),
    "When it answers, run this again. {}": "Quand il répondra, relancer. {}",
    "When it answers, run this there. If it is off: hvm_peer_is_down={} shows what would be lost.": (
        "Quand il répondra, lancer ceci là-bas. S'il est éteint: --peer-is-down {} montre ce qui serait perdu."
    ),
    "its hypervisor is running": "son hyperviseur est en marche",
    "overlays of {}": "overlays de {}",
    "{} in these": "{} dans ceux-ci",
    "VM {}: has moved here, and loses nothing": "VM {}: avait migré ici, et ne perd rien",
    "VM {}: what it wrote while VMs were on both hosts: {}": (
        "VM {}: ce qu'elle a écrit pendant que des VMs étaient sur les deux hôtes: {}"
    ),
    "{} is ACTIVE in epoch {}, and {} has overlays of {} that no journal knows: hvm.pair.rejoin comes next": (
        "{} est ACTIF à l'époque {}, et {} a des overlays de {} qu'aucun journal ne connaît: 'hvm rejoin' vient ensuite"
    ),
    "since {}": "depuis {}",
    "the overlays of {} were never merged": "les overlays de {} n'ont jamais été intégrés",
    "{} and has moved VMs here ({}): {} recovers first, and they come back": (
        "{} et a déplacé des VMs ici ({}): {} repart d'abord, et elles reviennent"
    ),
    "{} does not answer, and VMs have moved there, or may have, {}: {}": (
        "{} ne répond pas, et des VMs s'y sont déplacées, ou peut-être, {}: {}"
    ),
    "{} does not answer, and all VMs have moved there: {}": "{} ne répond pas, et toutes les VMs s'y sont déplacées: {}",
    "{} does not answer, and may be ACTIVE; VMs that have moved here: {}": (
        "{} ne répond pas, et est peut-être ACTIF; VMs déplacées ici: {}"
    ),
    "{} does not know any more of the VMs that have moved there, or may have, {}: {}": (
        "{} ne sait plus rien des VMs qui s'y sont déplacées, ou peut-être, {}: {}"
    ),
    "{} had handed over to {}, which is given up, by the operator's word: {} becomes ACTIVE in epoch {}": (
        "{} avait cédé la main à {}, qui est abandonné, l'opérateur l'affirme: {} devient ACTIF en époque {}"
    ),
    "{} has handed its role over to {}, and its VMs have moved there": "{} a cédé son rôle à {}, et ses VMs s'y sont déplacées",
    "{} has handed its role over to {}, where its VMs have moved": "{} a cédé son rôle à {}, où ses VMs se sont déplacées",
    "{} has handed its role over to {}, where its VMs run": "{} a cédé son rôle à {}, où ses VMs tournent",
    "{} has handed its role over, and its VMs have moved to {}: {} recovers first": (
        "{} a cédé son rôle, et ses VMs se sont déplacées vers {}: {} repart d'abord"
    ),
    "{} has handed its role over, and {} never arrived": "{} a cédé son rôle, et n'est jamais arrivé: {}",
    "{} is ACTIVE in epoch {} without the VMs that had moved here ({})": (
        "{} est ACTIF en époque {} sans les VMs qui s'étaient déplacées ici ({})"
    ),
    "{} moved here with the set {}, and go on from it only, not from {}": (
        "{} se sont déplacées ici avec le jeu {}, et ne continuent que de là, pas de {}"
    ),
    "{}; {} come back from {}": "{}; {} reviennent de {}",
    "{}; {} go on from what is here, without what they wrote on {}": (
        "{}; {} continuent avec ce qui est ici, sans ce qu'elles ont écrit sur {}"
    ),
    "{}; {} had moved here and go on as they are": "{}; {} s'étaient déplacées ici et continuent telles quelles",
    "Allow it to be paused (hvm_move_fallback=direct) or saved (secure), give it more time (hvm_move_limit), or wait.": (
        "Permettre de la suspendre (--move-fallback direct) ou de la sauvegarder (secure), lui donner plus de "
        "temps (--move-limit), ou attendre."
    ),
    "Allow more (hvm_move_max_pause), choose another way for it (hvm_move_mode), or wait until it has less to do.": (
        "Permettre plus (--move-max-pause), choisir une autre façon (--move-mode), ou attendre qu'elle ait moins à faire."
    ),
    "An earlier migrate_unsecure has left it. hvm.pair.recover merges it into the disk.": (
        "Un migrate_unsecure antérieur l'a laissé. 'hvm recover' l'intègre au disque."
    ),
    "Eject it (virsh change-media), or move it below one of hvm_datasets.": (
        "L'éjecter (virsh change-media), ou le déplacer sous un des hvm_datasets."
    ),
    "Let it be saved (hvm_move_mode=secure, or move=secure in its description), or shut it down first.": (
        "La laisser sauvegarder (--move-mode secure, ou move=secure dans sa description), ou l'arrêter d'abord."
    ),
    "Move it below one of hvm_datasets.": "Le déplacer sous un des hvm_datasets.",
    "Shut it down first, or detach the directory.": "L'arrêter d'abord, ou détacher le répertoire.",
    "Shut it down first, or detach the disk.": "L'arrêter d'abord, ou détacher le disque.",
    "Shut it down first, or give it an emulated one.": "L'arrêter d'abord, ou lui en donner un émulé.",
    "VM {} cannot move ({}): {}": "la VM {} ne peut se déplacer ({}): {}",
    "VM {} cannot move while it runs: {}: {}": "la VM {} ne peut se déplacer en marche: {}: {}",
    "VM {} would stand still for {} ({}), and {} s are allowed: {}": "la VM {} s'arrêterait {} ({}), et {} s sont permises: {}",
    "VM {} {}": "la VM {} {}",
    "Wait until that has ended: virsh blockjob {} {} --info.": "Attendre que cela soit terminé: virsh blockjob {} {} --info.",
    "another VM has its disk {}, too": "une autre VM a aussi son disque {}",
    "another VM may write to its disk {}": "une autre VM peut écrire sur son disque {}",
    "given up": "abandonné",
    "has a device of the host as its disk {}": "a un périphérique de l'hôte comme disque {}",
    "has a directory of the host ({})": "a un répertoire de l'hôte ({})",
    "has a disk that libvirt works on ({})": "a un disque sur lequel libvirt travaille ({})",
    "has a disk whose writes are thrown away ({})": "a un disque dont les écritures sont jetées ({})",
    "has the disk {}, which is on no replicated dataset": "a le disque {}, qui n'est sur aucun volume répliqué",
    "has the medium {}, which is on no replicated dataset": "a le support {}, qui n'est sur aucun volume répliqué",
    "holds a device of the host": "tient un périphérique de l'hôte",
    "is transient and would be lost": "est transitoire et serait perdue",
    "it has a device whose other end is a program of the host ({})": (
        "elle a un périphérique dont l'autre bout est un programme de l'hôte ({})"
    ),
    "it has snapshots of libvirt's": "elle a des snapshots de libvirt",
    "it is frozen, and stays so": "elle est figée, et le reste",
    "it is wished so": "ainsi demandé",
    "it would not end by itself": "cela ne finirait pas tout seul",
    "it would take longer than {} s": "cela prendrait plus de {} s",
    "its disk {} is encrypted by QEMU": "son disque {} est chiffré par QEMU",
    "merge the overlays into the disks": "intégrer les overlays aux disques",
    "move to {}, by priority:": "déplacer vers {}, par priorité:",
    "of the VMs' memory change in a second: {}": "de la mémoire des VMs changent en une seconde: {}",
    "of {} of memory {} change in a second, and {} can go over": (
        "sur {} de mémoire {} changent en une seconde, et {} peuvent passer"
    ),
    "overlays for the disks of {}: from then on nobody writes the disks themselves": (
        "overlays pour les disques de {}: dès lors personne n'écrit les disques eux-mêmes"
    ),
    "paused and moved": "suspendue et déplacée",
    "restore these VMs: {}": "restaurer ces VMs: {}",
    "runs and yet has a state image": "tourne et a pourtant une sauvegarde d'état",
    "save these VMs: {}": "sauvegarder ces VMs: {}",
    "shared IP off on {}": "couper l'adresse IP partagée sur {}",
    "shared IP on at {}": "activer l'adresse IP partagée sur {}",
    "snapshot set, sync, verify": "jeu de snapshots, synchro, vérification",
    "snapshot, sync, until the rest is small": "snapshot, synchro, jusqu'à ce que le reste soit petit",
    "still writes into an overlay: {}": "écrit encore dans un overlay: {}",
    "{} is less than 0": "{} est inférieur à 0",
    "Give 0 or more.": "Donner 0 ou plus.",
    "the link carries {} in a second": "le lien porte {} en une seconde",
    "stop the hypervisor on {}, {} becomes PASSIVE": "arrêter l'hyperviseur sur {}, {} devient PASSIF",
    "uses the TPM of the host": "utilise le TPM de l'hôte",
    "{} becomes ACTIVE": "{} devient ACTIF",
    "{} makes ready to take the VMs, without becoming ACTIVE": "{} se prépare à recevoir les VMs, sans devenir ACTIF",
    "{} of memory; how fast it changes is not known": "{} de mémoire; on ne sait pas à quelle vitesse elle change",
    "{}: secure, about {} of interruption, until all others have moved": (
        "{}: secure, environ {} d'interruption, le temps que toutes les autres se déplacent"
    ),
    "{} of memory, of which {} can go over in a second; how fast it changes is not known": (
        "{} de mémoire, dont {} peuvent passer en une seconde; on ne sait pas à quelle vitesse elle change"
    ),
    "{}: {}, and stays frozen": "{}: {}, et reste figée",
    "{}: {}, in about {}, about {} of interruption": "{}: {}, en environ {}, environ {} d'interruption",
    "{}: {}, in about {}, at most {} of interruption": "{}: {}, en environ {}, au plus {} d'interruption",
    "{}: {}, in {} or more, about {} of interruption": "{}: {}, en {} ou plus, environ {} d'interruption",
    "{}: {}, in {} or more, at most {} of interruption": "{}: {}, en {} ou plus, au plus {} d'interruption",
    "{}; slowed down if it does not converge, then {}": "{}; ralentie si elle ne converge pas, puis {}",
    "hvm.pair.migrate_unsecure goes on with it, if it can; hvm.pair.recover brings all VMs back": (
        "'hvm migrate unsecure' la poursuit, si elle peut l'être; 'hvm recover' fait revenir toutes les VMs"
    ),
    "hvm.pair.recover merges the overlays of {} into their disks": "'hvm recover' intègre les overlays de {} à leurs disques",
    "hvm.pair.recover on {}, or hvm.pair.migrate_unsecure to go on there": (
        "'hvm recover' sur {}, ou 'hvm migrate unsecure' pour continuer là-bas"
    ),
    "hvm.pair.recover; if the other host is lost: hvm.pair.failover goes on with the VMs that have moved here": (
        "hvm recover; si l'autre hôte est perdu: 'hvm failover' continue avec les VMs qui se sont déplacées ici"
    ),
    "the other host": "l'autre hôte",
    # what comes next: `_pair.advice`
    "the next backup ends it: hvm.pair.backup_secure": "la prochaine sauvegarde la termine: hvm backup secure",
    "the next backup ends it: hvm.pair.backup_unsecure": "la prochaine sauvegarde la termine: hvm backup unsecure",
    "hvm.pair.rollback goes on with it, with the same variables; hvm_rollback_state=undone goes back": (
        "'hvm rollback' la poursuit, avec les mêmes options; 'hvm rollback --rollback-state undone' revient en arrière"
    ),
    "hvm.pair.rollback hvm_rollback_state=undone goes on with it": "'hvm rollback --rollback-state undone' la poursuit",
    "hvm.pair.rollback hvm_rollback_state=followed, on the other host, goes on with it": (
        "'hvm rollback --rollback-state followed', sur l'autre hôte, la poursuit"
    ),
    "{}; if that host is lost: hvm.pair.failover does": "{}; si cet hôte est perdu: 'hvm failover' le fait",
    "look at /var/lib/hvm/journal.json, and for overlays in /var/lib/hvm/overlays; then hvm_operation state=acknowledged": (
        "regarder /var/lib/hvm/journal.json, et s'il y a des overlays dans /var/lib/hvm/overlays; ensuite 'hvm acknowledge'"
    ),
    "Look at /var/lib/hvm/journal.json, and for overlays in /var/lib/hvm/overlays; then hvm_operation state=acknowledged.": (
        "Regarder /var/lib/hvm/journal.json, et s'il y a des overlays dans /var/lib/hvm/overlays; ensuite 'hvm acknowledge'."
    ),
    "hvm.pair.failover goes on with it, with the same variables": "'hvm failover' la poursuit, avec les mêmes options",
    "hvm.pair.rejoin, on the host that goes on, shows what it holds that the other lacks": (
        "'hvm rejoin', sur l'hôte qui continue, montre ce qu'il a et que l'autre n'a pas"
    ),
    "hvm.pair.hv_start, if the hypervisor is not stopped on purpose": "hvm hv start, si l'hyperviseur n'est pas arrêté exprès",
    "hvm.pair.hv_stop: a PASSIVE host runs nothing, mounts nothing, and has no shared IP": (
        "hvm hv stop: un hôte PASSIF ne fait rien tourner, ne monte rien, et n'a pas l'IP partagée"
    ),
    "hvm.pair.hv_start takes the shared IP, if it is not off on purpose": (
        "hvm hv start prend l'adresse IP partagée, si elle n'est pas coupée exprès"
    ),
    "hvm_vm state=unfrozen for {}, if there is room again: a disk could not be written": (
        "hvm vm unfreeze {}, s'il y a de nouveau de la place: un disque n'a pu être écrit"
    ),
    "hvm_vm state=restored for {}, if not saved on purpose": "hvm vm restore {}, sauf sauvegarde voulue",
    "hvm.pair.recover finishes it or undoes it, and says which": "'hvm recover' la termine ou l'annule, et dit lequel des deux",
    "hvm.pair.recover: it was ACTIVE before it rebooted": "hvm recover: il était ACTIF avant son redémarrage",
    "hvm.pair.install: it has no role yet": "hvm.pair.install: il n'a pas encore de rôle",
    # reports: `_core.report`, `_report`
    "Plan (nothing was changed):": "Plan (rien n'a été changé):",
    "ACTIVE host: {}": "Hôte ACTIF: {}",
    "Interruption of {} VMs:": "Interruption de {} VMs:",
    "No VM was running": "Aucune VM n'était en marche",
    "{} saved and restored": "{} sauvegardée et restaurée",
    "{} without its memory: paused": "{} sans sa mémoire: figée",
    "{} filesystems frozen by its agent": "{} systèmes de fichiers figés par son agent",
    "{} was shut down meanwhile": "{} arrêtée entre-temps",
    "VM {} ended during the backup: its disks are in the set as after a power cut": (
        "la VM {} s'est arrêtée pendant la sauvegarde: ses disques sont dans le jeu comme après une coupure"
    ),
    "VM {} was started during the backup: its disks are in the set as after a power cut": (
        "la VM {} a été démarrée pendant la sauvegarde: ses disques sont dans le jeu comme après une coupure"
    ),
    "{} its disks are in the set as after a power cut": "{} ses disques sont dans le jeu comme après une coupure",
    "{} left out: autobackup=no": "{} laissée de côté: autobackup=no",
    "Snapshot set: {} (B: VM states inside)": "Jeu de snapshots: {} (B: avec l'état des VMs)",
    "Snapshot set: {}": "Jeu de snapshots: {}",
    "Sent: {}, verified on the other host by GUID": "Envoyé: {}, vérifié sur l'autre hôte par GUID",
    "Before the interruption: {}": "Avant l'interruption: {}",
    "Before the VMs moved: {}": "Avant le déplacement des VMs: {}",
    "Steps (the longest interruption of a VM: {} s):": "Etapes (la plus longue interruption d'une VM: {} s):",
    "{} direct: paused meanwhile": "{} direct: figée pendant ce temps",
    "{} live, and paused when its time was over": "{} live, puis figée une fois son temps écoulé",
    "{} no interruption in this run": "{} aucune interruption cette fois",
    "VM {}: its disk {} was detached, and {} holds what was written to it": (
        "VM {}: son disque {} a été détaché, et {} contient ce qui y a été écrit"
    ),
    "Attach it again ({}), then hvm.pair.recover. Or hvm.pair.recover first, then qemu-img commit -d {}, move the file away, and "
    "hvm.pair.recover again.": (
        "Le rattacher ({}), puis 'hvm recover'. Ou d'abord 'hvm recover', puis qemu-img commit -d {}, déplacer le fichier, et à "
        "nouveau 'hvm recover'."
    ),
    "VM {}: {} was detached there, and what was written to it would not come back": (
        "VM {}: {} a été détaché là-bas, et ce qui y a été écrit ne reviendrait pas"
    ),
    "VM {}: its disk {} is on {}, a snapshot over {}": "VM {}: son disque {} est sur {}, un snapshot par-dessus {}",
    "VM {}: its disk {} is on {}, and whether {} lies below cannot be seen: {}": (
        "VM {}: son disque {} est sur {}, et si {} est dessous ne peut être vu: {}"
    ),
    "Mend that, or put {} into its definition instead (virsh edit {}) when nothing in {} is missed; then hvm.pair.recover.": (
        "Réparer cela, ou mettre {} à sa place dans la définition (virsh edit {}) si rien ne manque de {}; ensuite 'hvm recover'."
    ),
    "Bring that down (virsh blockcommit {} {} --base {} --active --pivot), then hvm.pair.recover.": (
        "Le ramener dessous (virsh blockcommit {} {} --base {} --active --pivot), puis 'hvm recover'."
    ),
    "Bring that down (with the VM off: qemu-img commit -b {} {}, and {} into virsh edit {}), then hvm.pair.recover.": (
        "Le ramener dessous (VM arrêtée: qemu-img commit -b {} {}, et {} dans virsh edit {}), puis 'hvm recover'."
    ),
    "VM {}: {} is on {} there, and what was written to it would not come back": (
        "VM {}: {} est sur {} là-bas, et ce qui y a été écrit ne reviendrait pas"
    ),
    "Bring that down over there (virsh blockcommit {} {} --base {} --active --pivot), then hvm.pair.recover here.": (
        "Le ramener dessous là-bas (virsh blockcommit {} {} --base {} --active --pivot), puis 'hvm recover' ici."
    ),
    "Bring that down over there (with the VM off: qemu-img commit -b {} {}, and {} into virsh edit {}), then hvm.pair.recover "
    "here.": (
        "Le ramener dessous là-bas (VM arrêtée: qemu-img commit -b {} {}, et {} dans virsh edit {}), puis 'hvm recover' ici."
    ),
    "VM {} was undefined here, and is off there": "la VM {} n'est plus définie ici, et est arrêtée là-bas",
    "Define it here (virsh define), then hvm.pair.recover.": "La définir ici (virsh define), puis 'hvm recover'.",
    "If it cannot come while it runs (an older QEMU here): {}": "Si elle ne peut revenir en marche (QEMU plus ancien ici): {}",
    "Shut the VM down there, then hvm.pair.recover: it comes back as files, with all its disks, and can be started here.": (
        "Arrêter la VM là-bas, puis 'hvm recover': elle revient sous forme de fichiers, avec tous ses disques, et peut "
        "démarrer ici."
    ),
    "{}: started, ended, frozen or unfrozen since the migration had begun": (
        "{}: démarrée, terminée, figée ou relancée depuis le début de la migration"
    ),
    "somebody has cancelled it before any VM moved": "interrompue par quelqu'un avant tout déplacement de VM",
    "somebody has cancelled it before the role moved": "interrompue par quelqu'un avant le changement de rôle",
    "somebody has cancelled it before {} moved": "interrompue par quelqu'un avant le déplacement de {}",
    "Memory written in {} s, while the VMs ran": "Mémoire écrite en {} s, pendant que les VMs tournaient",
    "Steps of the interruption ({} s, all in one process, no Ansible task among them):": "Etapes de l'interruption ({} s):",
    "Old sets pruned: {}": "Anciens jeux purgés: {}",
    "Old set {} stays on {}: {}": "L'ancien jeu {} reste sur {}: {}",
    "old sets that go: {}": "anciens jeux qui disparaissent: {}",
    "Total: {} s": "Total: {} s",
    "{} is {} (pair {}, epoch {}; {})": "{} est {} (paire {}, époque {}; {})",
    "Last complete set: none": "Dernier jeu complet: aucun",
    "Last complete set: {}, {} old": "Dernier jeu complet: {}, vieux de {}",
    "Last with VM states (B): none": "Dernier avec l'état des VMs (B): aucun",
    "Last with VM states (B): {}, {} old": "Dernier avec l'état des VMs (B): {}, vieux de {}",
    "Constraint: {}": "Contrainte: {}",
    "Running now: {}": "En cours: {}",
    "Pool {} is {}": "Le pool {} est {}",
    "Pending: {} by {}, begun {}, stopped at '{}'": "Interrompue: {} par {}, lancée le {}, arrêtée à '{}'",
    "Pending: {}, begun {}, stopped at '{}'": "Interrompue: {}, lancée le {}, arrêtée à '{}'",
    "because: {}": "cause: {}",
    "{} does not answer: of its VMs no more is known": "{} ne répond pas: de ses VMs on ne sait rien de plus",
    "Next: {}": "Ensuite: {}",
    "{} already: nothing to do": "{}: déjà, rien à faire",
    "{} already ({}, epoch {}): nothing to do": "{}: déjà ({}, époque {}), rien à faire",
    "{} ({}, epoch {})": "{} ({}, époque {})",
    "What only that host has, since {}: {}": "Ce que seul cet hôte possède, depuis {}: {}",
    "Off, without autostart=yes: {} (hvm_vm state=started)": "Arrêtées, sans autostart=yes: {} (hvm vm start)",
    "Kept on the other host, until hvm_zfs_kept drops it: {}": "Gardé sur l'autre hôte, jusqu'à 'hvm zfs kept drop': {}",
    "Destroyed on the other host: {}": "Détruit sur l'autre hôte: {}",
    "Took: {}": "Durées: {}",
    "The datasets are at {} already": "Les volumes sont déjà à {}",
    "Nothing to do on this host": "Rien à faire sur cet hôte",
    "The rollback of {} would be undone": "Le retour arrière du {} serait annulé",
    "The rollback of {} is undone": "Le retour arrière du {} est annulé",
    "The datasets would go back to {}": "Les volumes reviendraient à {}",
    "The datasets are back to {}": "Les volumes sont revenus à {}",
    "{} (B: VM states inside)": "{} (B: avec l'état des VMs)",
    "{}: {} newer snapshots, {} written since, not in the set": "{}: {} snapshots plus récents, {} écrits depuis, absent du jeu",
    "{}: {} newer snapshots, {} written since": "{}: {} snapshots plus récents, {} écrits depuis",
    "{}: {} newer snapshots, not in the set": "{}: {} snapshots plus récents, absent du jeu",
    "{}: {} newer snapshots": "{}: {} snapshots plus récents",
    "{}: {} written since, not in the set": "{}: {} écrits depuis, absent du jeu",
    "{}: {} written since": "{}: {} écrits depuis",
    "{}: not in the set": "{}: absent du jeu",
    "Kept, until hvm_zfs_kept drops it: {}": "Gardé, jusqu'à 'hvm zfs kept drop': {}",
    "{} has followed to {}; what was newer there is kept": "{} a suivi vers {}; ce qui y était plus récent est gardé",
    "{} would follow to {}; what was newer there is kept": "{} suivrait vers {}; ce qui y était plus récent serait gardé",
    "{} has followed; what was newer there is kept": "{} a suivi; ce qui y était plus récent est gardé",
    "{} would follow; what was newer there is kept": "{} suivrait; ce qui y était plus récent serait gardé",
    "{} is in step: the next sync is an increment": "{} est au même point: la prochaine synchro est un incrément",
    "{} has not followed: hvm_rollback_state=followed, before the next sync": (
        "{} n'a pas suivi: hvm rollback --rollback-state followed, avant la prochaine synchro"
    ),
    # a rollback: `_procedure.rollback`
    "a rollback to undo is named ({}), and state is {}": "un retour à annuler est nommé ({}), et l'état demandé est {}",
    "To undo that one: hvm_zfs_rollback state=undone kept={}.": (
        "Pour annuler celui-là: hvm rollback --rollback-state undone --rollback-kept {}."
    ),
    "a set to go back to is named ({}), and state is {}": "un jeu où revenir est nommé ({}), et l'état demandé est {}",
    "To go back: hvm_zfs_rollback state=rolled_back.": "Pour y revenir: hvm rollback --rollback-state rolled_back.",
    "Leave the set out: what is undone is named by kept (see hvm_zfs_kept).": (
        "Ne pas nommer de jeu: ce qui est annulé est nommé par --rollback-kept (voir 'hvm zfs kept list')."
    ),
    "Run hvm_zfs_rollback again: it goes on where it was.": "Relancer 'hvm rollback': il reprend où il en était.",
    "To go back instead: hvm_zfs_rollback state=undone.": "Pour l'annuler plutôt: hvm rollback --rollback-state undone.",
    "See hvm_zfs_kept for the names.": "Voir les noms: hvm zfs kept list.",
    "{} is not kept by this collection for the pair {}": "{} n'est pas gardé par cette collection pour la paire {}",
    "dropping {}": "la destruction de {}",
    "the undo": "l'annulation du retour",
    "the {} is not complete: {}": "{}: incomplet: {}",
    "the mark of a swap is still there": "la marque d'un échange est encore là",
    "the {} of {} did not end": "{} de {}: pas terminé",
    "the {} of {} on this host did not end": "{} de {} sur cet hôte: pas terminé",
    "nothing was left to do": "il ne restait rien à faire",
    "letting the replica follow": "faire suivre la réplique",
    "The replicas on {} do not follow yet: {}, before the next sync.": (
        "Les répliques sur {} ne suivent pas encore: {}, avant la prochaine synchro."
    ),
    "The replicas on {} do not follow yet: {}. When that is mended: {}.": (
        "Les répliques sur {} ne suivent pas encore: {}. Quand ce sera réparé: {}."
    ),
    "{} on {} has nothing in common with this host: the next sync sends it anew": (
        "{} sur {} n'a rien de commun avec cet hôte: la prochaine synchro l'envoie en entier"
    ),
    "only {} has {}: destroyed here since, or renamed": "seul {} possède {}: détruit ici depuis, ou renommé",
    "{} is not protected on both hosts: {}": "{} n'est pas protégé sur les deux hôtes: {}",
    "the state images in {} cannot be listed: {}": "les sauvegardes d'état de {} ne peuvent être listées: {}",
    "{} to {} is nothing that a replica can do": "{} vers {}: une réplique ne sait pas le faire",
    "{} or {} is no stamp": "{} ou {} n'est pas un horodatage",
    # plain saves and sets: `_procedure.checkpoint`
    "not every VM could be saved: {}": "toutes les VMs n'ont pu être sauvegardées: {}",
    "not every VM could be restored: {}": "toutes les VMs n'ont pu être restaurées: {}",
    "Their images are kept in {}. Try hvm_vm state=restored.": "Leurs sauvegardes sont dans {}. Essayer hvm vm restore.",
    "its state image is not there": "sa sauvegarde d'état n'est pas là",
    "the backup": "la sauvegarde",
    "the backup was interrupted": "la sauvegarde a été interrompue",
    "Run it again.": "Relancer.",
    "{} could not be saved, and run: in the set as after a power cut": (
        "{} n'ont pu être sauvegardées, et tournent: dans le jeu comme après une coupure de courant"
    ),
    "On {}: {} goes on with it. If that host is lost: hvm.pair.failover does.": (
        "Sur {}: {} le reprend. Si cet hôte est perdu: hvm.pair.failover le fait."
    ),
    "the clock of {} is not set: {}. It may be behind by the time of the pause": (
        "l'horloge de {} n'est pas réglée: {}. Elle peut retarder du temps de la pause"
    ),
    "the clock of {} is not set: {}": "l'horloge de {} n'est pas réglée: {}",
    "the set {} is not complete: {} did exist then and has no such snapshot": (
        "le jeu {} n'est pas complet: {} existait alors et n'a pas un tel snapshot"
    ),
    "the set {} is not complete: it is not on {}": "le jeu {} n'est pas complet: il manque sur {}",
    "the set {} was not taken at once in pool {}: transaction groups {}": (
        "le jeu {} n'a pas été pris d'un coup dans le pool {}: groupes de transactions {}"
    ),
    "the set {} is not complete, and {} stays: {}": "le jeu {} n'est pas complet, et {} reste: {}",
    "the set {}, which is not complete, was destroyed again": "le jeu {}, qui n'est pas complet, a été détruit aussitôt",
    "the set {} is not what its mark says: {} was started while it was taken": (
        "le jeu {} n'est pas ce que dit sa marque: {} a démarré pendant qu'il était pris"
    ),
    "the set {} is not what its mark says: {} went on, or was started, while it was taken": (
        "le jeu {} n'est pas ce que dit sa marque: {} a continué ou démarré pendant qu'il était pris"
    ),
    "Destroy it (hvm_zfs_snapshot state=absent name={}), then do this again.": (
        "Le détruire (hvm zfs snap destroy {}), puis recommencer."
    ),
    "Take a new set, then destroy this one: hvm_zfs_snapshot state=absent name={}.": (
        "Prendre un nouveau jeu, puis détruire celui-ci: hvm zfs snap destroy {}."
    ),
    "Next: hvm.pair.hv_start, then the VMs": "Ensuite: hvm hv start, puis les VMs",
    "State images of {}: hvm_vm state=restored": "Sauvegardes d'état de {}: hvm vms restore",
    # plans: `_procedure.switch` and its kin
    "mount the datasets below {}, writable": "monter les volumes sous {}, en écriture",
    "{} is ACTIVE, in epoch {}; the gate is open": "{} est ACTIF, en époque {}; la porte est ouverte",
    "start libvirt, its networks and pools; no VM": "démarrer libvirt, ses réseaux et pools; aucune VM",
    "start libvirt, its networks and pools": "démarrer libvirt, ses réseaux et pools",
    "shared IP on: {}": "activer l'adresse IP partagée: {}",
    "shared IP off: {}": "désactiver l'adresse IP partagée: {}",
    "stop libvirt, shut the gate": "arrêter libvirt, fermer la porte",
    "unmount the datasets below {}: read-only, without devices": (
        "démonter les volumes sous {}: lecture seule, sans périphériques"
    ),
    "starting the hypervisor": "démarrage de l'hyperviseur",
    "stopping the hypervisor": "arrêt de l'hyperviseur",
    "switching off": "extinction",
    "mounting the datasets": "montage des volumes",
    "unmounting the datasets": "démontage des volumes",
    "the migration": "migration",
    "the rollback": "retour arrière",
    "the snapshot": "snapshot",
    "this": "opération",
    # who acts, and switching off: `_procedure.preflight`, `_procedure.alone`
    "{} is ACTIVE and does the work": "{} est ACTIF et fait le travail",
    "{} was ACTIVE last and does the work": "{} a été ACTIF en dernier et fait le travail",
    "it could not run on {} now: {}": "elle ne pourrait tourner maintenant sur {}: {}",
    "Run it there, on {}.": "Lancer la commande là-bas, sur {}.",
    "Go on there, on {}.": "Continuer là-bas, sur {}.",
    "Run it on {}.": "Lancer la commande sur {}.",
    "this is {}, not {}": "cet hôte est {}, pas {}",
    "the VMs are on {}, and {} stays on: {}": "les VMs sont sur {}, et {} reste allumé: {}",
    "{} is PASSIVE: it is switched off in 3 s": "{} est PASSIF: il s'éteint dans 3 s",
    "old sets stay on {}: {}": "les anciens jeux restent sur {}: {}",
    "the pair has no shared IP": "la paire n'a pas d'adresse IP partagée",
    "Set hvm_shared_ip in the inventory and run the playbook hvm.pair.install.": (
        "Fixer hvm_shared_ip dans l'inventaire et lancer le playbook hvm.pair.install."
    ),
    "the host whose own data are to be destroyed is not named": (
        "l'hôte dont les données propres doivent être détruites n'est pas nommé"
    ),
    "Name it: --discard NAME. The hosts are {} and {}.": "Le nommer: --discard NOM. Les hôtes sont {} et {}.",
    "this host does not belong to a pair: {}": "cet hôte n'appartient à aucune paire: {}",
    # which host must be ACTIVE: `_pair.constraint`
    "{} must be ACTIVE on {}": "{} doit être ACTIF le {}",
    "{} must be ACTIVE from {} to {} inclusive": "{} doit être ACTIF du {} au {} inclus",
    "{}; today, {}, is day {} of {}.": "{}; aujourd'hui, {}, est le jour {} sur {}.",
    "No constraint is in force today, {}. The next one: {}.": (
        "Aucune contrainte n'est en vigueur aujourd'hui, {}. La prochaine: {}."
    ),
    "No constraint is in force. The last one is over since {}.": (
        "Aucune contrainte n'est en vigueur. La dernière est terminée depuis le {}."
    ),
    "No constraint is set.": "Aucune contrainte n'est fixée.",
    "There is no such constraint.": "Il n'y a pas de telle contrainte.",
    "This is set already: {}.": "C'est déjà fixé: {}.",
    "Unset: {}.": "Supprimé: {}.",
    "{} (set {})": "{} (fixé {})",
    "* {} (set {})": "* {} (fixé {})",
    "Its hosts are {}.": "Ses hôtes sont {}.",
    "{} and {}": "{} et {}",
    "{} is not a day": "{} n'est pas un jour",
    "{} is not a day: {}": "{} n'est pas un jour: {}",
    "The day comes first: 20/12/2026 is December 20.": "Le jour vient d'abord: 20/12/2026 est le 20 décembre.",
    "Write today, tomorrow, D/M/YYYY (20/12/2026) or YYYY-MM-DD (2026-12-20).": (
        "Ecrire today, tomorrow, J/M/AAAA (20/12/2026) ou AAAA-MM-JJ (2026-12-20)."
    ),
    "{} is not a moment: {}": "{} n'est pas un moment: {}",
    "it has no time zone": "il n'a pas de fuseau horaire",
    "Write it as 2026-12-20T18:00:00Z.": "L'écrire ainsi: 2026-12-20T18:00:00Z.",
    "the constraint ends on {}, before it begins on {}": "la contrainte finit le {}, avant de commencer le {}",
    "Give the first day, then the last one.": "Donner le premier jour, puis le dernier.",
    "{}: that is over, today is {}": "{}: c'est passé, aujourd'hui est le {}",
    "Give a last day that is today or later.": "Donner un dernier jour qui n'est pas passé.",
    "{}: that overlaps another constraint ({}): {}": "{}: ceci chevauche une autre contrainte ({}): {}",
    "{} to {}": "{} au {}",
    "Unset that one first, or choose other days.": "Supprimer d'abord celle-là, ou choisir d'autres jours.",
    "the hosting constraints cannot be read: {}": "les contraintes d'hébergement ne peuvent être lues: {}",
    "it has the format {}, this version reads {}": "elles ont le format {}, cette version lit {}",
    "{} is missing": "{} manque",
    "Delete the file and set them anew.": "Effacer le fichier et les fixer à nouveau.",
    # VMs: `_procedure.verbs`, `_procedure.vms`, `_libvirt.domains`
    "parallel is {}": "parallel vaut {}",
    "It is 1 or more: VMs of one priority at once.": "C'est 1 ou plus: des VMs d'une même priorité à la fois.",
    "rate: {} is no number of bytes": "rate: {} n'est pas un nombre d'octets",
    "Write it as 20M; 0 is no limit.": "L'écrire ainsi: 20M; 0 est sans limite.",
    "no VM is named": "aucune VM n'est nommée",
    "Give 'name', or 'all: true'.": "Donner le nom d'une VM, ou les prendre toutes (hvm vms).",
    "not all VMs are {}: {}; not tried: {}": "échec sur une partie des VMs ({}): {}; pas essayées: {}",
    "Mend that, then run this again: what is done stays.": "Y remédier, puis relancer: ce qui est fait reste.",
    "not all VMs are {}: {}": "échec sur une partie des VMs ({}): {}",
    "there is no VM {}": "il n'y a pas de VM {}",
    "Did you mean {}?": "S'agit-il de {}?",
    "VM {} has a saved state; starting it would make that useless": (
        "la VM {} a une sauvegarde d'état; la démarrer la rendrait inutile"
    ),
    "Restore it first (hvm_vm state=restored).": "La restaurer d'abord (hvm vm restore).",
    "python3-libvirt is not installed on this host": "python3-libvirt n'est pas installé sur cet hôte",
    "libvirt does not answer at {}: {}": "libvirt ne répond pas à {}: {}",
    "On the ACTIVE host start it with hvm_hypervisor state=started.": "Sur l'hôte ACTIF, le démarrer par hvm hv start.",
    "{} does not start: {}": "{} ne démarre pas: {}",
    # what VMs' descriptions say: `_procedure.vm_settings`
    "change VMs": "modifier les VMs",
    "ready is {}": "ready vaut {}",
    "It is 'agent', 'tcp:HOST:PORT' in lower case, or empty.": "C'est 'agent', 'tcp:HOTE:PORT' en minuscules, ou rien.",
    "added": "ajouté",
    "removed": "supprimé",
    "It goes from {} to {}.": "Cela va de {} à {}.",
    "VM {} is transient: it has no definition to change": "la VM {} est transitoire: elle n'a pas de définition à modifier",
    "Define it (virsh define).": "La définir (virsh define).",
    "VM {} has a state image, which brings its own definition back": (
        "la VM {} a une sauvegarde d'état, qui ramène sa propre définition"
    ),
    "VM {} runs: the channel for its agent changes when it is shut down and started again": (
        "la VM {} tourne: le canal de son agent change quand elle est arrêtée puis redémarrée"
    ),
    "{}: channel for an agent {}": "{}: canal pour un agent {}",
    "{}: description is now {}": "{}: la description est maintenant {}",
    "{}: description of the running VM is now {}": "{}: la description de la VM en marche est maintenant {}",
    "VM {} has a process, although libvirt does not call it running": (
        "la VM {} a un processus, alors que libvirt ne la dit pas en marche"
    ),
    "It cannot be proven stopped. Look for the process; a second one would destroy its disks.": (
        "Son arrêt ne peut être prouvé. Chercher le processus; un second détruirait ses disques."
    ),
    "libvirt's own autostart of {} switched off": "démarrage automatique natif de {} neutralisé",
    "the state images are not known: {} is not mounted": "les sauvegardes d'état ne sont pas connues: {} n'est pas monté",
    "the VMs are not known: the hypervisor is stopped": "les VMs ne sont pas connues: l'hyperviseur est arrêté",
    "the VMs are not known: this host is {}, and their definitions lie in datasets that are not mounted": (
        "les VMs ne sont pas connues: cet hôte est {}, et leurs définitions sont dans des volumes qui ne sont pas montés"
    ),
    "{} goes on": "{} continue",
    "{} started": "{} démarrée",
    "{} saved": "{} sauvegardée",
    "{} restored": "{} restaurée",
    "{} frozen": "{} figée",
    # steps
    "datasets mounted": "volumes montés",
    "datasets unmounted": "volumes démontés",
    "hypervisor running": "hyperviseur en marche",
    "hypervisor stopped": "hyperviseur arrêté",
    "hot sync, round {}": "synchro à chaud, tour {}",
    "going back: {}": "retour en arrière: {}",
    "overlays for {}": "overlays pour {}",
    "{}: changed on {} while VMs were on both hosts, and not on the other one; kept in {}": (
        "{}: modifié sur {} pendant que des VMs étaient sur les deux hôtes, et pas sur l'autre; gardé dans {}"
    ),
    "{}: removed on {} while VMs were on both hosts, and still there on the other one": (
        "{}: supprimé sur {} pendant que des VMs étaient sur les deux hôtes, et toujours présent sur l'autre"
    ),
    "no VM": "aucune VM",
    "ready for the VMs": "prêt à recevoir les VMs",
    "{}: its disks are made ready": "{}: ses disques sont préparés",
    "{}: {} left": "{}: reste {}",
    "{}: {} left; it would stand still for {} ms now": "{}: reste {}; elle s'arrêterait {} ms maintenant",
    "{} of {} of memory": "{} de mémoire sur {}",
    "{} of its disks": "{} de ses disques",
    "{} of {} of memory and {} of its disks": "{} de mémoire sur {} et {} de ses disques",
    "{} has moved ({}) in {} s": "{} s'est déplacée ({}) en {} s",
    "{} has moved ({}) in {} s; it stood still for {} s": "{} s'est déplacée ({}) en {} s; interrompue {} s",
    "{} is back": "{} est revenue",
    "{}: what it has written is in its disks": "{}: ce qu'elle a écrit est dans ses disques",
    "the migration was undone": "la migration a été annulée",
    # ended by an operator: `_procedure.cancelling`, `_procedure.move`
    "{} is told to end; {}": "{}: ordre de fin donné; {}",
    "{} would be told to end; {}": "{}: l'ordre de fin serait donné; {}",
    "VMs that have moved come back": "les VMs déplacées reviennent",
    "VMs that have moved stay there": "les VMs déplacées restent là-bas",
    "nothing runs here that could be cancelled": "rien n'est en cours ici qui puisse être interrompu",
    "{} cannot be cancelled": "{} ne peut être interrompue",
    "Only {} can be, on the host that runs it.": "Seule {} peut l'être, sur l'hôte qui l'exécute.",
    "Only {} can be. Wait until it has ended.": "Seule {} peut l'être. Attendre qu'elle soit terminée.",
    "VMs that have moved come back already, all of them": "les VMs déplacées reviennent déjà, toutes",
    "every VM has moved, and the role with them: nothing is left to cancel": (
        "toutes les VMs se sont déplacées, et le rôle avec elles: il n'y a plus rien à interrompre"
    ),
    "To go back, migrate from {}.": "Pour revenir, migrer depuis {}.",
    "{} is run by {}; here its lock is only lent": "{} est exécutée par {}; ici son verrou n'est que prêté",
    "Cancel it there, on {}.": "L'interrompre là-bas, sur {}.",
    "the move of {} was stopped": "le déplacement de {} a été interrompu",
    "VM {} did not move: its memory did not converge within {} s": (
        "la VM {} ne s'est pas déplacée: sa mémoire n'a pas convergé en {} s"
    ),
    "Give it more time (hvm_move_limit), or let it be paused (hvm_move_mode=auto and hvm_move_fallback=direct).": (
        "Lui donner plus de temps (--move-limit), ou permettre qu'elle soit suspendue (--move-mode auto et "
        "--move-fallback direct)."
    ),
    "VM {} did not move: {}": "la VM {} ne s'est pas déplacée: {}",
    "{}; so the migration was undone, and {} goes on as the ACTIVE host": (
        "{}; la migration a donc été annulée, et {} continue comme hôte ACTIF"
    ),
    "the migration ended before its time ({}); {} stay on {}": "la migration a pris fin avant l'heure ({}); {} restent sur {}",
    "the migration ended before its time ({}); {} stay on {}; saved, and off until then: {}": (
        "la migration a pris fin avant l'heure ({}); {} restent sur {}; sauvegardées, et arrêtées jusque-là: {}"
    ),
    "hvm.pair.migrate_unsecure goes on with the others, hvm.pair.recover takes them back.": (
        "'hvm migrate unsecure' continue avec les autres, 'hvm recover' les fait revenir."
    ),
    "the migration failed ({}); this host goes on, but not with everything: {}": (
        "la migration a échoué ({}); cet hôte continue, mais pas avec tout: {}"
    ),
    "Mend the reason, then hvm.pair.recover.": "En corriger la cause, puis 'hvm recover'.",
    "every VM is on {}, and it has not taken over ({})": "toutes les VMs sont sur {}, et il n'a pas pris le relais ({})",
    "hvm.pair.recover finds out which host goes on, and lets it.": "'hvm recover' trouve quel hôte continue, et le laisse faire.",
    "{} was told to take over, and has not answered: {}": "{} devait prendre le relais, et n'a pas répondu: {}",
    "VM {} would have to be saved ({}), and the last set has been taken": (
        "la VM {} devrait être sauvegardée ({}), et le dernier jeu est déjà pris"
    ),
    "Let it be paused (hvm_move_mode=direct); or hvm.pair.recover brings the VMs back.": (
        "Permettre qu'elle soit suspendue (--move-mode direct); ou 'hvm recover' ramène les VMs."
    ),
    "VM {} runs, and is no part of the move": "la VM {} tourne, et ne fait pas partie du déplacement",
    "The VMs run there. Run hvm.pair.recover when {} answers again.": (
        "Les VMs tournent là-bas. Lancer 'hvm recover' quand {} répond à nouveau."
    ),
    "snapshot set {}": "jeu de snapshots {}",
    "{} becomes DIVERGED": "{} devient DIVERGED",
    "{} of {} snapshots of old sets done": "{} snapshots d'anciens jeux sur {} traités",
    "{} old bookmarks removed": "{} anciens signets supprimés",
    "waiting for {}": "attente de {}",
    "{}: {} sent": "{}: {} envoyés",
    "{}: {} read": "{}: {} lus",
    "{}: content is the same on both hosts": "{}: contenu identique sur les deux hôtes",
    "{}: content differs on both hosts": "{}: contenu différent entre les deux hôtes",
    # networks: `_net.network_plan`, `_net.links`, `_net.managers`, `_net.networks`, `_procedure.networks`
    "this change of the networks": "ce changement des réseaux",
    "Choose another interface, or do it on the host's console, without hvm.": (
        "Choisir une autre interface, ou le faire sur la console de l'hôte, sans hvm."
    ),
    "{} cannot be removed: {}": "{} ne peut être supprimé: {}",
    "{} cannot be removed: {} need it": "{} ne peut être supprimé: {} en ont besoin",
    "{} cannot be removed: {} are connected to it": "{} ne peut être supprimé: {} y sont connectés",
    "libvirt does not run, so nobody knows whether VMs need {}": (
        "libvirt ne tourne pas: on ne sait pas si des VMs ont besoin de {}"
    ),
    "Connect these VMs to another bridge first (virsh edit), also those that do not run.": (
        "Connecter d'abord ces VMs à un autre pont (virsh edit), aussi celles qui ne tournent pas."
    ),
    "Take them out of it first ('ip link show master' with its name shows them).": (
        "Les en retirer d'abord ('ip link show master' avec son nom les montre)."
    ),
    "{} cannot be changed: {}": "{} ne peut être modifié: {}",
    "{} cannot be put into {}: {}": "{} ne peut être mis dans {}: {}",
    "{} cannot be put into {}: it is a bridge itself": "{} ne peut être mis dans {}: c'est lui-même un pont",
    "{} has the address that this session comes in by": "{} porte l'adresse par laquelle passe cette session",
    "{} has the address that this session comes in by (by way of {})": (
        "{} porte l'adresse par laquelle passe cette session (par {})"
    ),
    "{} has the default route": "{} porte la route par défaut",
    "{} has the default route (by way of {})": "{} porte la route par défaut (par {})",
    "{} is that of the shared IP": "{} est celle de l'adresse IP partagée",
    "{} is that of the shared IP (by way of {})": "{} est celle de l'adresse IP partagée (par {})",
    "{} has the address at which {} reaches this host": "{} porte l'adresse par laquelle {} joint cet hôte",
    "{} has the address at which {} reaches this host (by way of {})": (
        "{} porte l'adresse par laquelle {} joint cet hôte (par {})"
    ),
    "{} is there already, and hvm has not made it": "{} existe déjà, et hvm ne l'a pas créé",
    "Choose another name, or take it away where it comes from: only what hvm has made is changed by it.": (
        "Choisir un autre nom, ou le supprimer là d'où il vient: hvm ne modifie que ce qu'il a créé."
    ),
    "{} is there, and is no bridge": "{} existe, et n'est pas un pont",
    "Choose another name.": "Choisir un autre nom.",
    "{} is in {}": "{} est dans {}",
    "Remove it there, or choose another name: two would bring it up.": (
        "L'y supprimer, ou choisir un autre nom: deux le mettraient en marche."
    ),
    "{} is on {} already": "{} est déjà sur {}",
    "Take it away there, or choose another address.": "L'y supprimer, ou choisir une autre adresse.",
    "there is no interface {} for the shared address": "il n'y a pas d'interface {} pour l'adresse partagée",
    "there is no interface {} for {}": "il n'y a pas d'interface {} pour {}",
    "The interfaces of this host: {}.": "Les interfaces de cet hôte: {}.",
    "{} cannot carry {}: it is no Ethernet interface of the host": (
        "{} ne peut porter {}: ce n'est pas une interface Ethernet de l'hôte"
    ),
    "Choose another one.": "En choisir une autre.",
    "{} is a part of {}": "{} fait partie de {}",
    "Name {} instead.": "Nommer plutôt {}.",
    "{} has an MTU of {}, and {} wants {}": "{} a un MTU de {}, et {} veut {}",
    "{} has an MTU of {} at most, and {} wants {}": "{} a un MTU de {} au plus, et {} veut {}",
    "Raise it there first, where that interface is configured, or want less.": (
        "L'augmenter d'abord, là où cette interface est configurée, ou en vouloir moins."
    ),
    "Name the interface below it.": "Nommer l'interface qui est dessous.",
    "Take it out of it first, or choose another interface.": "L'en retirer d'abord, ou choisir une autre interface.",
    "{} has the address {}: it is in use": "{} a l'adresse {}: elle est utilisée",
    "Take the address away first, where it is configured, or choose another interface.": (
        "Retirer d'abord l'adresse, là où elle est configurée, ou choisir une autre interface."
    ),
    "{} is in {} ({})": "{} est dans {} ({})",
    "Make it 'iface {} inet manual' there, or choose another interface.": (
        "Y mettre 'iface {} inet manual', ou choisir une autre interface."
    ),
    "{} is there already, as {}": "{} existe déjà, sous le nom {}",
    "VLAN {} of {}": "VLAN {} de {}",
    "no interface": "sans interface",
    "Take it away where it comes from: the kernel has each VLAN of an interface once.": (
        "Le supprimer là d'où il vient: le noyau n'a chaque VLAN d'une interface qu'une fois."
    ),
    "{} is there already, and is not {}": "{} existe déjà, et n'est pas {}",
    "Give it another name.": "Lui donner un autre nom.",
    "{} is in use: it has the address {}": "{} est utilisé: il a l'adresse {}",
    "{} is in use: it is in {}": "{} est utilisé: il est dans {}",
    "Take that away first, where it is configured.": "L'enlever d'abord, là où c'est configuré.",
    "{}: removed ({})": "{}: supprimé ({})",
    "{}: made ({})": "{}: créé ({})",
    "{}: changed ({} > {})": "{}: modifié ({} > {})",
    "{}: mended ({})": "{}: réparé ({})",
    "{}: its files are written anew": "{}: ses fichiers sont réécrits",
    "{} stays as it is, since it was declared for a host that is not in the pair any more. "
    "Declare it anew, or remove it (hvm_network state=absent).": (
        "{} reste tel quel: il a été déclaré pour un hôte qui n'est plus dans la paire. "
        "Le déclarer à nouveau, ou l'enlever (hvm net remove)."
    ),
    "{} is not as it was declared: {}": "{} n'est pas conforme à sa déclaration: {}",
    "{} is not there": "{} n'est pas là",
    "it is not there": "il n'est pas là",
    "{} is no bridge": "{} n'est pas un pont",
    "{} has its spanning tree protocol switched on": "{} a son protocole spanning tree activé",
    "{} lacks the address {}": "il manque à {} l'adresse {}",
    "the interface {} is not there": "l'interface {} n'est pas là",
    "{} is switched off": "{} est éteint",
    "{} is not {}": "{} n'est pas {}",
    "{} is not in {}": "{} n'est pas dans {}",
    "{} has an MTU of {}, not {}": "{} a un MTU de {}, pas de {}",
    "{} has the address {}": "{} a l'adresse {}",
    "NetworkManager is in charge of {}, and networks are for ifupdown or systemd-networkd": (
        "NetworkManager gère {}, et les réseaux sont pour ifupdown ou systemd-networkd"
    ),
    "Take {} away from it (unmanaged-devices in /etc/NetworkManager/conf.d), and let ifupdown or systemd-networkd have it.": (
        "Lui retirer {} (unmanaged-devices dans /etc/NetworkManager/conf.d), et la confier à ifupdown ou systemd-networkd."
    ),
    "neither ifupdown nor systemd-networkd is in charge of the network": "ni ifupdown ni systemd-networkd ne gère le réseau",
    "Install ifupdown, or enable systemd-networkd: 'systemctl enable --now systemd-networkd'.": (
        "Installer ifupdown, ou activer systemd-networkd: 'systemctl enable --now systemd-networkd'."
    ),
    "systemd-networkd does not run": "systemd-networkd ne tourne pas",
    "Start it: 'systemctl enable --now systemd-networkd'; or choose ifupdown (hvm_network_manager).": (
        "Le démarrer: 'systemctl enable --now systemd-networkd'; ou choisir ifupdown (hvm_network_manager)."
    ),
    "ifupdown is not installed": "ifupdown n'est pas installé",
    "Install it, or choose networkd (hvm_network_manager).": "L'installer, ou choisir networkd (hvm_network_manager).",
    "{} does not read the files in {}": "{} ne lit pas les fichiers de {}",
    "Add the line 'source {}' to it, as Debian has it.": "Y ajouter la ligne 'source {}', comme chez Debian.",
    "the networks cannot be used: {}": "les réseaux sont inutilisables: {}",
    "{} is no name of a bridge": "{} n'est pas un nom de pont",
    "{}: {} is no name of an interface": "{}: {} n'est pas un nom d'interface",
    "{}: {} must be a number from {} to {}, not {}": "{}: {} doit être un nombre de {} à {}, pas {}",
    "{} and {} both want {} on {}": "{} et {} veulent tous deux {} sur {}",
    "A network has a name (a bridge; 15 letters, digits, dashes and underscores at most, and not vlanN, which ifupdown takes "
    "for a VLAN) and, as it needs them, interface, vlan (1 to 4094), mtu and, by host, addresses.": (
        "Un réseau a un nom (un pont; 15 lettres, chiffres, tirets et soulignés au plus, et pas vlanN, qu'ifupdown prend pour un "
        "VLAN) et, s'il en a besoin, interface, vlan (1 à 4094), mtu et, par hôte, des adresses."
    ),
    "{} cannot be asked: {}. This is what {} knows.": "{} ne peut être interrogé: {}. Voici ce que sait {}.",
    "not known": "inconnu",
    "{} is to be removed, and is still there": "{} doit être supprimé, et est encore là",
    "not declared there": "n'y est pas déclaré",
    "declared as {}": "déclaré comme {}",
    "there is no network {}": "il n'y a pas de réseau {}",
    "There are: {}.": "Il y a: {}.",
    "in the inventory (hvm_networks) there is still {}: the next hvm.pair.install brings it back": (
        "dans l'inventaire (hvm_networks) il y a encore {}: le prochain hvm.pair.install le rétablit"
    ),
    "networks that are not in the inventory stay: {}. Declare them in hvm_networks, or remove them (hvm_network state=absent)": (
        "des réseaux absents de l'inventaire restent: {}. Les déclarer dans hvm_networks, ou les supprimer (hvm net remove)"
    ),
    "{} cannot be asked, so it is not told: {}. When it answers, run hvm_network state=applied.": (
        "{} ne peut être interrogé, il n'est donc pas informé: {}. Quand il répondra, lancer hvm net apply."
    ),
    "{} does not answer, and its VMs may need what is to be removed": (
        "{} ne répond pas, et ses VMs ont peut-être besoin de ce qui doit être supprimé"
    ),
    "Wait until it answers; or do it on the host that is ACTIVE.": (
        "Attendre qu'il réponde; ou le faire sur l'hôte qui est ACTIF."
    ),
    "it is done on {}, and not on {}: {}": "c'est fait sur {}, et pas sur {}: {}",
    "See what it says there, then run hvm_network state=applied.": "Voir ce qu'il dit là-bas, puis lancer hvm net apply.",
    "{} cannot be asked for its networks: {}": "{} ne peut être interrogé sur ses réseaux: {}",
    "after the change of the networks this is gone: {}": "après le changement des réseaux ceci a disparu: {}",
    "Something else reconfigured it at the same time: see the journal of this host (journalctl -b).": (
        "Autre chose l'a reconfiguré en même temps: voir le journal de cet hôte (journalctl -b)."
    ),
    "{} has not been asked yet whether it has {}": "il n'a pas encore été demandé à {} s'il a {}",
    "when {} last answered, it was told otherwise of {}": (
        "quand {} a répondu pour la dernière fois, il savait autre chose de {}"
    ),
    "{}. Bring the two together: hvm_network state=applied.": "{}. Mettre les deux d'accord: hvm net apply.",
    "Bring the two together: hvm_network state=applied.": "Mettre les deux d'accord: hvm net apply.",
    "Mend it there: hvm_network state=applied.": "Le réparer là-bas: hvm net apply.",
    "bridge {} is declared as another network there, and {} need it": (
        "le pont {} y est déclaré comme un autre réseau, et {} en ont besoin"
    ),
    "bridge {} is not as it was declared ({}), and {} need it": "le pont {} n'est pas conforme ({}), et {} en ont besoin",
    "the networks are not as they were declared: {}": "les réseaux ne sont pas conformes à leur déclaration: {}",
    "See the journal (journalctl -b -u systemd-networkd -u networking), then run hvm_network state=applied.": (
        "Voir le journal (journalctl -b -u systemd-networkd -u networking), puis lancer hvm net apply."
    ),
    "somebody else is changing the networks of {}": "quelqu'un d'autre modifie les réseaux de {}",
    "Wait a moment, then run hvm_network state=applied.": "Attendre un moment, puis lancer hvm net apply.",
    "This is declared already: {}.": "C'est déjà déclaré: {}.",
    "{} is declared already, as another one ({})": "{} est déjà déclaré, autrement ({})",
    "Remove it first, or change it in the inventory (hvm_networks) and run the playbook hvm.pair.install.": (
        "Le supprimer d'abord, ou le modifier dans l'inventaire (hvm_networks) et lancer le playbook hvm.pair.install."
    ),
    "{} is removed.": "{} est supprimé.",
    "{} is not declared.": "{} n'est pas déclaré.",
    "Network {}: {}": "Réseau {}: {}",
    "Networks: {}": "Réseaux: {}",
    # wrong words: argparse
    "the following arguments are required: {}": "arguments manquants: {}",
    "unrecognized arguments: {}": "arguments inconnus: {}",
    "argument {}: expected one argument": "{}: une valeur est attendue",
    "argument {}: expected at least one argument": "{}: au moins une valeur est attendue",
    "argument {}: invalid int value: {}": "{}: {} n'est pas un nombre entier",
    "argument {}: invalid float value: {}": "{}: {} n'est pas un nombre",
    "argument {}: invalid choice: {} (choose from {})": "{}: {} n'est pas parmi {}",
    "argument {}: ignored explicit argument {}": "{}: valeur {} inattendue",
}

#: The roles are the manual's: they stand alone, in captured words.
_ROLES = {"ACTIVE": "ACTIF", "PASSIVE": "PASSIF", "UNKNOWN": "UNKNOWN", "DIVERGED": "DIVERGED"}


#: Below so many letters of its own a sentence is so general that it would take others for itself ("{} is in {}").
_GENERAL = 16
#: What a general one is filled in with: names, a quantity, a moment. Not a part of a sentence that is not known.
_PLAIN = re.compile(r"\S+(?:(?:,|;| and) \S+)*|[\d.]+ \w+|\S+ \([^ ]*\)|\d\S+ \d\S+")


@functools.cache
def _compiled() -> tuple[tuple[re.Pattern[str], str, int], ...]:
    """The most literal text first: "{}: {}" would take what belongs to others.

    Each with how many of its gaps must be plain: all those of a general one, but what comes last, after a colon: a reason.
    """
    by_length = sorted(SENTENCES.items(), key=lambda pair: len(pair[0].replace("{}", "")), reverse=True)
    return tuple(
        (
            re.compile("(.+?)".join(map(re.escape, english.split("{}"))), re.DOTALL),
            said,
            0 if sum(map(str.isalpha, english)) >= _GENERAL else english.count("{}") - english.endswith(": {}"),
        )
        for english, said in by_length
    )


def french(text: str, depth: int = 3) -> str | None:
    """The whole sentence, and what is filled in, as far as they are known; None when the sentence is not. Pure."""
    if text in _ROLES:
        return _ROLES[text]
    for pattern, sentence, plain in _compiled():
        match = pattern.fullmatch(text)
        if match:
            filled = [(one, french(one, depth - 1) if depth else None) for one in match.groups()]
            if all(said or _PLAIN.fullmatch(one) for one, said in filled[:plain]):
                return sentence.format(*(said or one for one, said in filled))
    return None


def line(text: str) -> str | None:
    """A line of a report, or several sentences in a row; None when not all of it is known. Pure."""
    inside = text.strip()
    indent = text[: len(text) - len(text.lstrip())]
    parts = re.split(r"(?<=\.) (?=\S)", inside)
    if len(parts) > 1:  # first: a pattern for one sentence would take all of them
        found = [french(part) or _stopped(french(part.removesuffix("."))) for part in parts]
        if all(found):
            return indent + " ".join(filter(None, found))
    whole = french(inside)
    return None if whole is None else indent + whole


def _stopped(text: str | None) -> str | None:
    return None if text is None else f"{text}."
